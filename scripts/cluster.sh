#!/usr/bin/env bash
# A running test cluster with the product's images in it; quick when it is there already.
# Needs root on Linux, or Docker with kind, or KUBECONFIG_FOR_TESTS (tests/cluster/README.md).
set -euo pipefail
cd "$(dirname "$0")/.."
cluster() { "$@" .venv/bin/python -m tests.cluster "$verb"; }
# What only builds yields to whatever else runs; what starts the cluster must not, for its parts
# inherit it.
verb=build cluster nice -n 10
verb=up cluster env
verb=images cluster nice -n 10
verb=load cluster env
