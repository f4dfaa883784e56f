"""The local bench, and asserts of the shared suite that are as talkative as a test module's."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite(
    "tests.dispatcher.executors.bench",
    "tests.dispatcher.executors.conformance_runs",
    "tests.dispatcher.executors.conformance_view",
    "tests.dispatcher.executors.conformance_volumes",
)

from tests.dispatcher.executors.local_bench import LocalBench  # noqa: E402 - after the line above


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalBench]:
    """Local executors on a folder of this test alone."""
    bench = LocalBench(tmp_path / "Staging_Download")
    yield bench
    bench.close()
