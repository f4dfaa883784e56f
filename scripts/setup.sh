#!/usr/bin/env bash
# Makes .venv with exactly what uv.lock pins, hash-checked; quick when nothing changed.
#   scripts/setup.sh demo      what `make demo` needs
#   scripts/setup.sh all       everything, for tests
# Needs python3 >= 3.11 with pip (or uv on PATH) and a package index; no root.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}
if [ "$what" = demo ]; then select=(--extra demo --no-dev); else select=(--all-extras --all-groups); fi

stamp=.venv/.installed-$what
key=$(cat uv.lock pyproject.toml scripts/setup.sh | sha256sum | cut -c1-16)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$key" ]; then exit 0; fi
if [ "$what" = demo ] && [ -f .venv/.installed-all ] && [ "$(cat .venv/.installed-all)" = "$key" ]; then exit 0; fi

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
  uv=.tools/uv/bin/uv
  if [ ! -x "$uv" ]; then
    echo "setup: installing uv (a Python package) into .tools/ of this checkout"
    python3 -m pip install --quiet --disable-pip-version-check --no-warn-script-location --root-user-action=ignore \
      --target .tools/uv 'uv>=0.9,<1'
  fi
fi
python=$(command -v python3)
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "setup: python3 must be 3.11 or newer, this is $("$python" -V)"; exit 1; }
echo "setup: installing the packages that uv.lock pins into .venv of this checkout ($what)"
[ -x .venv/bin/python ] || "$uv" venv --quiet --python "$python" .venv
rm -f .venv/.installed-*
requirements=$(mktemp)
trap 'rm -f "$requirements"' EXIT
"$uv" export --quiet --frozen --no-emit-project "${select[@]}" --output-file "$requirements"
VIRTUAL_ENV=$PWD/.venv "$uv" pip sync --quiet --require-hashes "$requirements"
VIRTUAL_ENV=$PWD/.venv "$uv" pip install --quiet --no-deps --editable .
echo "$key" > "$stamp"
