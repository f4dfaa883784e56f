"""The local bench of the shared suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dispatcher.executors.local_bench import LocalBench


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalBench]:
    """Local executors on a folder of this test alone."""
    bench = LocalBench(tmp_path / "Staging_Download")
    yield bench
    bench.close()
