#!/usr/bin/env bash
# Format, lint, types and the shape of the imports; all four are run, whatever the first ones say.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh all
failed=()
check() { echo "lint: $*"; .venv/bin/"$@" || failed+=("$1 $2"); }
check ruff format --check .
check ruff check .
check mypy
check lint-imports --no-logo
[ ${#failed[@]} -eq 0 ] || { printf 'lint: FAILED: %s\n' "${failed[@]}" >&2; exit 1; }
