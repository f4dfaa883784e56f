"""The local executor passes the suite that every executor passes."""

from __future__ import annotations

import pytest

from tests.dispatcher.executors.conformance import ExecutorConformance
from tests.dispatcher.executors.local_bench import LocalBench


@pytest.fixture
def bench(local: LocalBench) -> LocalBench:
    """Local executors on a folder of this test alone."""
    return local


class TestLocal(ExecutorConformance):
    """Every test of the shared suite, on this machine."""
