"""Commands that change something: orders, requests to the dispatcher, the pause, dead letters.

They write into Redis alone; the dispatcher, which has the rights, carries out what is asked.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from contract.errors import BadMessage
from contract.outcome import ExitCode
from contract.task import Task
from dispatcher import reach, table

ANSWER = 10.0
"""Seconds to wait for a dispatcher to carry out a request before saying that it is noted."""


# --- orders ---------------------------------------------------------------------------------------
def enqueue(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Push an order as a backend does."""
    raw = _message(options).encode()
    try:
        task = Task.parse(raw)
    except BadMessage as exc:
        print(f"course-runner: {exc.summary} {exc.advice}".rstrip(), file=sys.stderr)
        return int(exc.code)
    waiting = reach.store(options, values).push(raw)
    print(f"Task {task.key} is in the queue; {waiting} waiting.")
    return 0


def _message(options: argparse.Namespace) -> str:
    """Return the order: a whole message, or one put together from an id, an address and flags."""
    if options.url is None:
        return str(options.task)
    number = options.task.isascii() and options.task.isdigit() and not options.text_id
    data: dict[str, Any] = {
        "taskId": int(options.task) if number else options.task,
        "courseUrl": options.url,
        "volumeSize": options.volume_size,
        "priority": options.priority,
        "force": options.force or None,
    }
    data.update({name: getattr(options, name) for name in ("email", "quality", "captions")})
    return json.dumps({name: value for name, value in data.items() if value is not None})


# --- requests -------------------------------------------------------------------------------------
def ask(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Ask the dispatcher, wait a moment for it, and say what came of it."""
    store = reach.store(options, values)
    forced = getattr(options, "force", False)
    ask_id = store.ask(f"{options.action}-forced" if forced else options.action, options.task)
    deadline = time.monotonic() + ANSWER
    while (answer := store.answer(ask_id)) is None:
        if time.monotonic() > deadline:
            print("The request is noted; no dispatcher has answered yet. It will when it can.")
            return 0
        time.sleep(0.1)
    print(answer.text, file=sys.stdout if answer.done else sys.stderr)
    return 0 if answer.done else 1


# --- the pause ------------------------------------------------------------------------------------
def pause(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Let nothing be claimed."""
    store = reach.store(options, values)
    store.pause(options.why)
    print(f"Intake is paused; {store.waiting()} waiting. What was handed over goes on.")
    return 0


def resume(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Let orders be claimed again."""
    store = reach.store(options, values)
    print("Intake goes on." if store.resume() else "Intake was not paused.", end=" ")
    print(f"{store.waiting()} waiting.")
    return 0


# --- dead letters ---------------------------------------------------------------------------------
def dead(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """List, show, requeue or drop dead letters."""
    store = reach.store(options, values)
    if options.verb == "list":
        return _list_dead(store, options)
    if not options.number:
        print(f"course-runner: dead {options.verb} needs a number, or all.", file=sys.stderr)
        return int(ExitCode.BAD_INPUT)
    letters = store.letters()
    if options.number != "all":
        letters = [letter for letter in letters if str(letter.number) == options.number]
        if not letters:
            print(f"course-runner: there is no dead letter {options.number}.", file=sys.stderr)
            return 1
    acts: dict[str, Callable[..., int]] = {"show": _show, "requeue": _requeue, "drop": _drop}
    return max((acts[options.verb](store, letter, options) for letter in letters), default=0)


def _list_dead(store: Any, options: argparse.Namespace) -> int:
    letters = store.dead()
    if options.json:
        print(json.dumps(letters, ensure_ascii=False))
    else:
        table.dead(letters)
    return 0


def _show(store: Any, letter: Any, options: argparse.Namespace) -> int:
    """The message goes out as it came in, byte for byte."""
    if options.json:
        print(json.dumps({"number": letter.number, **letter.data}, ensure_ascii=False))
        return 0
    said = letter.data
    print(f"{letter.number}  {table.moment(str(said.get('at', '')))}  {said.get('reason', '')}")
    sys.stdout.flush()
    sys.stdout.buffer.write(letter.message + b"\n")
    return 0


def _requeue(store: Any, letter: Any, options: argparse.Namespace) -> int:
    return _say(store.requeue(letter), letter.number, "is in the queue again")


def _drop(store: Any, letter: Any, options: argparse.Namespace) -> int:
    return _say(store.drop(letter), letter.number, "is dropped")


def _say(done: bool, number: int, what: str) -> int:
    if done:
        print(f"Dead letter {number} {what}.")
    else:
        print(f"course-runner: somebody else has taken dead letter {number}.", file=sys.stderr)
    return 0 if done else 1


# --- removal --------------------------------------------------------------------------------------
def reap(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Show (or make) the removals that retention chooses now."""
    service = import_module("dispatcher.service")
    settings = reach.settings(options, values)
    command = import_module("dispatcher.reap_command")
    executor = service.executor_from(settings)
    log = service.log_from(settings, sys.stderr)  # standard output is the answer's
    rows = command.run(settings, executor, log, dry=options.dry_run)
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
    else:
        table.removals(rows, dry=options.dry_run)
    return 0
