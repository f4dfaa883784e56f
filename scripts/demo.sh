#!/usr/bin/env bash
# The demo: installs what it needs (the first time only), then tells the story into ./demo-output.
#   scripts/demo.sh [--output FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh demo
exec .venv/bin/python -m playground.demo "$@"
