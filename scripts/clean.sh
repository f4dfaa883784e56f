#!/usr/bin/env bash
# Removes what the other verbs made in this checkout; nothing outside it.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf .venv .tools dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
if [ -e demo-output ]; then
  if [ -f demo-output/.course-runner-demo ]; then rm -rf demo-output; else echo "clean: demo-output is not the demo's, it stays" >&2; fi
fi
find . -name __pycache__ -type d -prune -exec rm -rf {} +
