#!/usr/bin/env bash
# Brings promtool, with which the tests check metrics and alerts, to ~/.cache/course-runner. Only that
# program is taken out of Debian's package prometheus: nothing is installed, no service is started.
# Quick when it is there. Needs Debian or Ubuntu; root only where no package lists were fetched yet.
set -euo pipefail
target=${HOME:-/tmp}/.cache/course-runner/promtool
if command -v promtool >/dev/null || [ -x "$target" ]; then exit 0; fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
fail() { echo "promtool: $1" >&2; exit 77; }
command -v apt-get >/dev/null && command -v dpkg >/dev/null || fail "needs Debian or Ubuntu, or promtool on PATH"
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo -n)
echo "promtool: taking it out of the package prometheus"
apt-get download -qq prometheus 2>/dev/null \
  || { "${as_root[@]}" apt-get update -qq && apt-get download -qq prometheus; } \
  || fail "the package could not be fetched; put promtool on PATH"
dpkg -x prometheus_*.deb files
install -D files/usr/bin/promtool "$target"
