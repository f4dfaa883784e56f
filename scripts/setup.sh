#!/usr/bin/env bash
# Makes .venv with exactly what uv.lock pins, hash-checked; quick when nothing changed.
#   scripts/setup.sh local     what `course-runner local` needs
#   scripts/setup.sh demo      that, and the encoder of the demo's sample media
#   scripts/setup.sh all       everything, for tests
# Needs python3 >= 3.11 with pip (or uv on PATH) and a package index; no root, no python3-venv.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}
# What is there is renewed, never shrunk: a .venv made for tests stays one when the demo is run.
if [ -f .venv/.installed-all ]; then what=all; elif [ -f .venv/.installed-demo ] && [ "$what" = local ]; then what=demo; fi
case $what in
  local) select=(--extra local --no-dev); enough=(local demo all) ;;
  demo) select=(--extra demo --no-dev); enough=(demo all) ;;
  all) select=(--all-extras --all-groups); enough=(all) ;;
  *) echo "setup: unknown selection \"$what\"; known are local, demo, all" >&2; exit 64 ;;
esac

key=$(cat uv.lock pyproject.toml scripts/setup.sh | sha256sum | cut -c1-16)
for each in "${enough[@]}"; do
  if [ "$(cat ".venv/.installed-$each" 2>/dev/null)" = "$key" ]; then exit 0; fi
done

fail() { echo "setup: $*" >&2; exit 1; }
python=$(command -v python3) || fail "there is no python3 on PATH; install Python 3.11 or newer"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "python3 must be 3.11 or newer, this is $("$python" -V)"

# uv reads no pip.conf and trusts no certificates but its own: pass on the index that pip is set up to
# use, and the certificates that it, or else the system, trusts.
export PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1
index=${PIP_INDEX_URL:-$("$python" -m pip config get global.index-url 2>/dev/null || true)}
if [ -n "$index" ]; then export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$index}; fi
for file in "${PIP_CERT:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
  if [ -z "${SSL_CERT_FILE:-}" ] && [ -s "$file" ]; then export SSL_CERT_FILE=$file; fi
done
# A service user may have no home.
if ! mkdir -p "${UV_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/uv}" 2>/dev/null; then export UV_CACHE_DIR=$PWD/.tools/cache; fi

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
  uv=.tools/uv/bin/uv
  if [ ! -x "$uv" ]; then
    "$python" -m pip --version >/dev/null 2>&1 || fail "$python has no pip; install it (Debian: apt install python3-pip), or put uv on PATH"
    echo "setup: installing uv (a Python package) into .tools/ of this checkout"
    "$python" -m pip install --quiet --no-warn-script-location --root-user-action=ignore --target .tools/uv 'uv>=0.9,<1'
  fi
fi
echo "setup: installing the packages that uv.lock pins into .venv of this checkout ($what)"
[ -x .venv/bin/python ] || "$uv" venv --quiet --python "$python" .venv
rm -f .venv/.installed-*
requirements=$(mktemp)
trap 'rm -f "$requirements"' EXIT
"$uv" export --quiet --frozen --no-emit-project "${select[@]}" --output-file "$requirements"
export VIRTUAL_ENV=$PWD/.venv
"$uv" pip sync --quiet --require-hashes "$requirements"
"$uv" pip install --quiet --no-deps --editable .
echo "$key" > ".venv/.installed-$what"
