#!/usr/bin/env bash
# The measurements, side by side with what they are compared to, and the table of their results.
#   scripts/bench.sh [arguments for python -m benchmarks]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh all
exec .venv/bin/python -m benchmarks "$@"
