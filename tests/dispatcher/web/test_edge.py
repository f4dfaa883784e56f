"""Threads that look never end in silence."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.env import Secret
from contract.log import Redactor, set_up
from dispatcher.store import Store, connect
from dispatcher.web.board import Board
from dispatcher.web.edge import Edge
from dispatcher.web.local_sight import LocalSight
from dispatcher.web.stream import Stream
from tests.services import until


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """The product's log."""
    found = io.StringIO()
    set_up("text", Redactor(), found)
    yield found
    set_up("text", Redactor())


def test_a_bug_is_trouble_and_one_entry_in_the_log_until_a_look_goes_well(
    lines: io.StringIO,
) -> None:
    edge = Edge("The sky")
    for _ in range(3):
        assert edge(lambda: {}["blue"]) == (
            "The sky cannot be looked at: KeyError; see the page's log."
        )
    assert lines.getvalue().count("The sky: the look met a bug") == 1
    assert edge(lambda: None) == ""
    assert edge(lambda: {}["blue"]) != ""
    assert lines.getvalue().count("The sky: the look met a bug") == 2


def test_folders_that_the_kernel_refuses_are_trouble_and_no_end(tmp_path: Path) -> None:
    sight = LocalSight(tmp_path / ("n" * 300))
    sight.start()
    try:
        until(lambda: "File name too long" in sight.trouble(), "it is told")
    finally:
        sight.close()


def test_a_board_that_meets_a_bug_says_so_and_looks_on(valkey9: str, lines: io.StringIO) -> None:
    broken = [True]

    def clock() -> float:
        if broken[0]:
            raise ValueError("no time")
        return time.time()

    store = Store(connect(Secret(valkey9)), "edge", "page")
    board = Board(store, Stream(connect(Secret(valkey9)), "edge"), clock)
    board.start()
    try:
        until(lambda: "ValueError" in board.seen.fresh.trouble, "it is told")
        broken[0] = False
        until(lambda: board.seen.fresh.ready and not board.seen.fresh.trouble, "it passes")
    finally:
        board.close()
