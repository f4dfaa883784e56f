"""The commands `watch` and `top`: look, show, wait, until there is nothing more to wait for.

Without a terminal `watch` prints a line when something happens and `top` prints once. Trouble with
Redis ends a command that has not seen anything yet; later it is shown, and looking goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib import import_module
from types import FrameType
from typing import Any, Protocol

from dispatcher import reach, table
from dispatcher.store import StoreUnavailable
from dispatcher.terminal import volumes, words
from dispatcher.terminal.lines import Lines
from dispatcher.terminal.lookout import Lookout, Sight
from dispatcher.terminal.moving import Moving

EVERY = 1.0
"""Seconds between two looks: runs tell of their progress once a second."""

PATIENCE = 10.0
"""Seconds that a `top` without a terminal waits for the executor."""


class Screen(Protocol):
    """Where it is shown."""

    def show(self, sight: Sight) -> None:
        """Show what is under way."""

    def end(self, task: Moving, at: float) -> None:
        """Say that a task is not under way any more."""

    def close(self) -> None:
        """End all that moves."""


def watch(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Show all tasks under way until interrupted; of named tasks, until all have ended."""
    lookout = Lookout(reach.store(options, values), options.tasks)
    sight = lookout.look()
    if unknown := lookout.unknown():
        for key in unknown:
            print(f"course-runner: task {key} is not known.", file=sys.stderr)
        return 1
    with _screen(_bars_or_lines()) as screen:
        for before, now in _pairs(lookout, sight):
            for task in _ended(before, now, options.tasks):
                screen.end(task, now.at)
            screen.show(_chosen(now, options.tasks))
            if options.tasks and all(_is_over(now, key) for key in options.tasks):
                break
    return int(any(now.tasks[key].status != "completed" for key in options.tasks))


def top(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Show slots, rates and volumes: again and again on a terminal, once elsewhere."""
    lookout = Lookout(reach.store(options, values))
    first = lookout.look()
    sight = import_module("dispatcher.web.sight").sight_of(reach.settings(options, values))
    sight.start()
    try:
        seen = volumes.Volumes(sight)
        bars = None if options.once or options.json else _bars()
        if bars is not None:
            _go_on(bars, lookout, first, seen)
        else:
            seen.wait(PATIENCE)
            time.sleep(EVERY)  # a rate is the difference of two looks
            _print_top(lookout.look(), seen, as_json=options.json)
    finally:
        sight.close()
    return 0


def _go_on(bars: Any, lookout: Lookout, first: Sight, seen: volumes.Volumes) -> None:
    with _screen(bars):
        for _, now in _pairs(lookout, first):
            rows = seen.rows(now.at)
            bars.draw(_head(now, rows, seen.trouble()), now, volumes.table(rows))


# --- looking --------------------------------------------------------------------------------------
def _pairs(lookout: Lookout, first: Sight) -> Iterator[tuple[Sight, Sight]]:
    """Yield each look with the one before; while Redis is away, the last one and why."""
    before = first
    yield replace(first, tasks={}), first
    while True:
        time.sleep(EVERY)
        try:
            now = lookout.look()
        except StoreUnavailable as exc:
            now = replace(before, at=time.time(), trouble=f"{exc.summary} Looking again.")
        yield before, now
        before = now


def _ended(before: Sight, now: Sight, wanted: list[str]) -> list[Moving]:
    """Return what was under way and is not, and of wanted tasks also what had ended before."""
    was = {task.task for task in before.moving}
    gone = [now.tasks[key] for key in was if key in now.tasks and now.tasks[key] not in now.moving]
    fresh = [now.tasks[k] for k in wanted if _is_over(now, k) and not _is_over(before, k)]
    found = {task.task: task for task in (*gone, *fresh)}
    return [task for key, task in found.items() if not wanted or key in wanted]


def _is_over(sight: Sight, key: str) -> bool:
    task = sight.tasks.get(key)
    return task is not None and task.over


def _chosen(sight: Sight, wanted: list[str]) -> Sight:
    if not wanted:
        return sight
    return replace(sight, tasks={key: t for key, t in sight.tasks.items() if key in wanted})


# --- showing --------------------------------------------------------------------------------------
def _bars_or_lines() -> Screen:
    """Return what fits where standard output goes."""
    return _bars() or Lines()


def _bars() -> Any:
    """Return bars, or None where nothing can be drawn: no terminal, a dumb one, no rich."""
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return None
    try:
        return import_module("dispatcher.terminal.bars").Bars()
    except ModuleNotFoundError:  # rich is in the extra `local` alone
        return None


@contextmanager
def _screen(screen: Screen) -> Iterator[Screen]:
    """Close the screen at the end, whatever ends it: a terminal without cursor helps nobody."""

    def stop(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    try:
        yield screen
    finally:
        screen.close()


def _head(sight: Sight, rows: Sequence[volumes.VolumeRow], trouble: str) -> list[str]:
    return [
        f"Slots    {words.slots(sight)}",
        f"Rates    {words.rates(sight)}",
        f"Volumes  {volumes.summary(rows, trouble)}",
    ]


def _print_top(sight: Sight, seen: volumes.Volumes, *, as_json: bool) -> None:
    rows, trouble = seen.rows(sight.at), seen.trouble()
    if as_json:
        print(json.dumps(_as_data(sight, rows, trouble), ensure_ascii=False))
        return
    print("\n".join(_head(sight, rows, trouble)))
    for task in sight.moving:
        print(words.line(task, sight.at))
    if rows:
        table.columns(*volumes.table(rows))


def _as_data(sight: Sight, rows: Sequence[volumes.VolumeRow], trouble: str) -> dict[str, Any]:
    return {
        "at": sight.at,
        "slots": dict(sight.state),
        "paused": dict(sight.pause),
        "queued": sight.queued,
        "counts": dict(sight.counts),
        "ended_within_an_hour": dict(sight.ended),
        "moving": [{**asdict(task), "speed": task.speed_at(sight.at)} for task in sight.moving],
        "volumes": [asdict(row) for row in rows],
        "volumes_trouble": trouble,
    }
