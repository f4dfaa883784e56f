"""A journey for the program's own tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from playground.receiver import Receiver
from tests.job_image.journey import GOOD, SECRET, SIGNING_KEY, Journey


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """The backend's webhook."""
    with Receiver(secret=SECRET, signing_key=SIGNING_KEY) as running:
        yield running


@pytest.fixture
def journey(tmp_path: Path, receiver: Receiver) -> Journey:
    """An order whose download succeeds."""
    made = Journey(tmp_path, receiver)
    made.download_with(GOOD)
    return made
