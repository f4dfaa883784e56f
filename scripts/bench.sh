#!/usr/bin/env bash
# The measurements, side by side with what they are compared to, and the table of their results.
#   scripts/bench.sh [arguments for python -m benchmarks]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh all
# aria2 is compared with; without root or apt its column is left out, and the result says so.
if ! command -v aria2c >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get install --yes --quiet=2 --no-install-recommends aria2 >/dev/null || echo "bench: aria2 could not be installed"
fi
exec .venv/bin/python -m benchmarks "$@"
