#!/usr/bin/env bash
# Installs what package-lock.json pins into node_modules, unless that was done for this very lock.
set -euo pipefail
cd "$(dirname "$0")"
command -v node >/dev/null && command -v npm >/dev/null || {
  echo "node-backend: needs Node.js 20 or newer with npm (newer than what Debian 12 packages)" >&2; exit 69; }
node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || {
  echo "node-backend: needs Node.js 20 or newer, this is $(node --version)" >&2; exit 69; }
key=$(cat package-lock.json .npmrc | sha256sum | cut -c1-16)
[ "$(cat node_modules/.installed 2>/dev/null)" = "$key" ] && exit 0
echo "node-backend: installing the packages that package-lock.json pins"
npm ci --ignore-scripts --loglevel=error
echo "$key" >node_modules/.installed
