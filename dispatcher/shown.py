"""Commands that only look: list, show, why, logs, and the dead letters' text."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from contract import names
from contract.env import Reader
from contract.errors import BadMessage
from contract.task import Task
from dispatcher import reach, table


def tasks(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """List the tasks that are known."""
    store = reach.store(options, values)
    rows = list(import_module("dispatcher.known").rows(store))
    if options.status:
        rows = [row for row in rows if row.get("status") == options.status]
    rows.sort(key=lambda row: row.get("updated", ""), reverse=True)
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
    else:
        table.tasks(rows, time.time())
    pause = store.paused()
    if pause:  # apart from the rows, which programs read
        print(table.paused(pause), file=sys.stderr)
    return 0


def task(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Show one task."""
    store = reach.store(options, values)
    fields = store.show(options.task)
    queued = [raw for raw in store.walk() if _key(raw) == options.task]
    if not fields and not queued:
        return _unknown(options.task)
    data = {
        "task": options.task,
        **({"status": "queued"} if queued and "status" not in fields else {}),
        **fields,
        **_folder(options, values),
    }
    if options.json:
        print(json.dumps(data, ensure_ascii=False))
    else:
        table.details(data)
    return 0


def _folder(options: argparse.Namespace, values: Mapping[str, str]) -> dict[str, str]:
    """Return where the task's files are and what they take, on one machine."""
    staging = Path(Reader(values).text("STAGING_DIR", names.STAGING_DIR))
    folder = staging / names.folder_name(options.task)
    if reach.executor_name(options) != "local" or not folder.is_dir():
        return {}
    used = import_module("dispatcher.executors.local.files").used_bytes(folder)
    return {"folder": str(folder), "used_bytes": str(used)}


def _key(raw: bytes) -> str | None:
    try:
        return Task.parse(raw).key
    except BadMessage:
        return None


def _unknown(key: str) -> int:
    print(f"course-runner: task {key} is not known.", file=sys.stderr)
    return 1


def why(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Say in one sentence why a task is where it is."""
    facts = import_module("dispatcher.inquiry").inquire(reach.store(options, values), options.task)
    sentence: str = import_module("dispatcher.why").why(facts, time.time())
    if not sentence:
        return _unknown(options.task)
    print(sentence)
    return 0


def logs(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Print the log of a task's newest run."""
    executor = reach.executor(options, values)
    name = names.object_name(options.task)
    executor.start()
    try:
        if name not in executor.holdings():
            print(f"course-runner: nothing is held of task {options.task}.", file=sys.stderr)
            return 1
        for line in executor.logs(name, follow=options.follow):
            print(line, flush=True)
    finally:
        executor.close()
    return 0


def doctor(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Audit what is there; 0 means that every order is in its place, 1 that something was found."""
    if options.last:
        verdict = reach.store(options, values).audit()
        if not verdict:
            print("course-runner: no dispatcher has made an audit yet.", file=sys.stderr)
            return 1
    else:
        service, settings = import_module("dispatcher.service"), reach.settings(options, values)
        service.log_from(settings, sys.stderr)  # standard output is the answer's
        module = import_module("dispatcher.doctor_command")
        verdict = module.run(settings, service.executor_from(settings))
    if options.json:
        print(json.dumps(verdict, ensure_ascii=False))
    else:
        table.audit(verdict)
    return 1 if verdict["found"] else 0
