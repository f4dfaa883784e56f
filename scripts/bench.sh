#!/usr/bin/env bash
# The measurements, side by side with what they are compared to, and the table of their results.
#   scripts/bench.sh [PROGRAM ...] [-- ARGUMENTS]      as python -m benchmarks takes them
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh all
# What is compared with comes from Debian; without root or apt its column is left out, and the result says so.
packages=()
command -v aria2c >/dev/null || packages+=(aria2)
command -v ffmpeg >/dev/null || packages+=(ffmpeg)
command -v curl >/dev/null || packages+=(curl)
if [ ${#packages[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "bench: installing ${packages[*]} with apt-get"
  apt-get update --quiet=2 || true
  apt-get install --yes --quiet=2 --no-install-recommends "${packages[@]}" >/dev/null || echo "bench: ${packages[*]} could not be installed"
fi
exec .venv/bin/python -m benchmarks "$@"
