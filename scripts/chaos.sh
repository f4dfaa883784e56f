#!/usr/bin/env bash
# The long chaos: dispatchers, runs and Redis killed, paused and cut off at random while 500 orders
# flow, with two dispatchers and with five; of the five, some are away for a minute or more. Prints
# seeds; ends non-zero when an order was lost or done twice, or MAX_ACTIVE exceeded by too much.
#   scripts/chaos.sh [arguments for python -m tests.chaos, instead of the two usual rounds]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh all
[ $# -eq 0 ] || exec .venv/bin/python -m tests.chaos "$@"
.venv/bin/python -m tests.chaos --orders 500 --seconds 120 --dispatchers 2
.venv/bin/python -m tests.chaos --orders 500 --seconds 180 --dispatchers 5 --absences 6
