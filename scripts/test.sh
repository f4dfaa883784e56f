#!/usr/bin/env bash
# Everything that must hold: lint, types, shape, all tests. Ends non-zero when anything failed.
#
# The cluster is built and started in the background while lint and the other tests run; the first
# time that takes some twelve minutes of two cores, later seconds. What cannot be had (services,
# cluster) is skipped loudly at home and is a failure with CI=true.
#   scripts/test.sh [arguments for pytest]
set -euo pipefail
cd "$(dirname "$0")/.."

failed=()
part() { # part NAME COMMAND...: run it, remember its failure, go on
  local name=$1; shift
  echo "== $name"
  "$@" || failed+=("$name")
}
missing() { # missing NAME WHY: a skip at home, a failure in CI
  if [ "${CI:-}" = true ]; then
    echo "test: MISSING $1: $2" >&2; failed+=("$1")
  else
    echo "test: SKIPPED $1: $2" >&2; skipped+=("$1")
  fi
}
skipped=()
flaky=()
tests() { # tests NAME ARGUMENTS...: pytest; what failed gets one second try, and is told of by name
  local name=$1; shift
  echo "== $name"
  .venv/bin/python -m pytest "$@" && return
  local first=.pytest_cache/v/cache/lastfailed
  local names; names=$(tr -d '{}",' <"$first" 2>/dev/null | sed 's/: true//' | awk 'NF {print $1}' || true)
  echo "== $name: a second try of what failed"
  if .venv/bin/python -m pytest --last-failed --last-failed-no-failures none "$@"; then
    flaky+=("$name passed only at the second try: $(echo $names)")
  else
    failed+=("$name")
  fi
}

scripts/setup.sh all
scripts/test-services.sh || missing services "scripts/test-services.sh could not install the servers; see above"

log=$(mktemp "${TMPDIR:-/tmp}/course-runner-cluster.XXXXXX")
setsid scripts/cluster.sh >"$log" 2>&1 </dev/null &
cluster=$!
trap 'kill -- -"$cluster" 2>/dev/null || true' EXIT
echo "== cluster: being made ready in the background; watch it with: tail -f $log"

part lint scripts/lint.sh
tests tests -m 'not cluster' "$@"

echo "== waiting for the cluster (the first build takes minutes)"
if wait "$cluster"; then
  tests "cluster tests" -m cluster "$@"
  grep -q 'up and healthy already' "$log" || .venv/bin/python -m tests.cluster down || failed+=("cluster down")
else
  tail -n 20 "$log"
  missing cluster "it could not be made ready; the whole log is $log"
fi
trap - EXIT

[ ${#flaky[@]} -eq 0 ] || printf 'test: FLAKY: %s\n' "${flaky[@]}" >&2
[ ${#skipped[@]} -eq 0 ] || printf 'test: SKIPPED: %s\n' "${skipped[@]}" >&2
[ ${#failed[@]} -eq 0 ] || { printf 'test: FAILED: %s\n' "${failed[@]}" >&2; exit 1; }
