#!/usr/bin/env bash
# The tests on a real Kubernetes, and nothing else. The cluster goes on afterwards, for the next
# try; `.venv/bin/python -m tests.cluster down` ends it.
#   scripts/e2e.sh [arguments for pytest]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh all
scripts/cluster.sh
.venv/bin/python -m pytest -m cluster "$@"
