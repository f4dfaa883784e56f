"""`course-runner`: the command line for whoever runs or watches the system.

Everything but `dispatch`, `local`, `logs` and `reap` speaks to Redis alone, so a laptop that
reaches Redis is enough, and those commands start without the Kubernetes client. Exit code 0 means
done, 1 that the answer is no (unknown task), 64 wrong use or settings, 75 that something is away.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from contract import env, names
from contract.env import Reader, Secret
from contract.errors import BadMessage, BadSettings, CourseRunnerError
from contract.outcome import ExitCode
from contract.task import Task
from dispatcher import table

STATE_DIR = ".course-runner"
"""Where `course-runner local` keeps its server's data, below the current folder."""

URL_FILE = "redis.url"
ANSWER = 10.0
"""Seconds to wait for a dispatcher to carry out a request before saying that it is noted."""

Command = Callable[[argparse.Namespace, Mapping[str, str]], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        return command(options, env.load(os.environ))
    except BadSettings as exc:
        for fault in exc.faults:
            print(f"course-runner: {fault}", file=sys.stderr)
        return int(exc.code)
    except CourseRunnerError as exc:
        print(f"course-runner: {exc.summary} {exc.advice}".rstrip(), file=sys.stderr)
        return int(exc.code)
    except KeyboardInterrupt:
        return 130


# --- running --------------------------------------------------------------------------------------
def _dispatch(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    service = import_module("dispatcher.service")
    service.serve(service.settings_from(values))
    return 0


def _local(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Dispatch on this machine, with an own server unless REDIS_URL names one."""
    import_module("dispatcher.local").run(Path(options.state), values)
    return 0


# --- orders ---------------------------------------------------------------------------------------
def _enqueue(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    raw = _message(options).encode()
    try:
        task = Task.parse(raw)
    except BadMessage as exc:
        print(f"course-runner: {exc.summary} {exc.advice}".rstrip(), file=sys.stderr)
        return int(exc.code)
    waiting = _store(options, values).push(raw)
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
    }
    for name in ("email", "quality", "captions"):
        if getattr(options, name):
            data[name] = getattr(options, name)
    if options.volume_size:
        data["volumeSize"] = options.volume_size
    if options.force:
        data["force"] = True
    return json.dumps(data)


def _list(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    store = _store(options, values)
    rows = [{"task": key, **fields} for key, fields in store.tasks()]
    running = {row["task"] for row in rows if row.get("status") == "running"}
    rows.extend(_queued(store.walk(), running))
    if options.status:
        rows = [row for row in rows if row.get("status") == options.status]
    rows.sort(key=lambda row: row.get("updated", ""), reverse=True)
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
    else:
        table.tasks(rows, time.time())
    return 0


def _queued(raw_items: Iterator[bytes], running: set[str]) -> Iterator[dict[str, str]]:
    seen = set(running)
    for raw in raw_items:
        try:
            task = Task.parse(raw)
        except BadMessage:
            continue
        if task.key not in seen:
            seen.add(task.key)
            yield {"task": task.key, "status": "queued", "course": task.course_url}


def _show(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    store = _store(options, values)
    fields = store.show(options.task)
    queued = [raw for raw in store.walk() if _key(raw) == options.task]
    if not fields and not queued:
        print(f"course-runner: task {options.task} is not known.", file=sys.stderr)
        return 1
    data = {
        "task": options.task,
        **({"status": "queued"} if queued and not fields else {}),
        **fields,
    }
    if options.json:
        print(json.dumps(data, ensure_ascii=False))
    else:
        table.details(data)
    return 0


def _key(raw: bytes) -> str | None:
    try:
        return Task.parse(raw).key
    except BadMessage:
        return None


def _logs(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    executor = _executor(options, values)
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


def _ask(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Ask the dispatcher, wait a moment for it, and say what came of it."""
    store = _store(options, values)
    store.ask(options.action, options.task)
    deadline = time.monotonic() + ANSWER
    while any(key == options.task for _, _, key in store.asks()):
        if time.monotonic() > deadline:
            print("The request is noted; no dispatcher has answered yet. It will when it runs.")
            return 0
        time.sleep(0.1)
    fields = store.show(options.task)
    if not fields:
        print(f"course-runner: task {options.task} is not known.", file=sys.stderr)
        return 1
    print(f"Task {options.task}: {fields.get('status', '')}. {fields.get('message', '')}".rstrip())
    return 0


def _dead(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    letters = _store(options, values).dead()
    if options.json:
        print(json.dumps(letters, ensure_ascii=False))
    else:
        table.dead(letters)
    return 0


def _reap(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Show (or make) the removals that retention chooses now."""
    service = import_module("dispatcher.service")
    settings = service.settings_from(_with_redis(options, values), executor=_executor_name(options))
    reap = import_module("dispatcher.reap_command")
    executor = service.executor_from(settings)
    log = service.log_from(settings, sys.stderr)  # standard output is the answer's
    rows = reap.run(settings, executor, log, dry=options.dry_run)
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
    else:
        table.removals(rows, dry=options.dry_run)
    return 0


# --- what commands share --------------------------------------------------------------------------
def _with_redis(options: argparse.Namespace, values: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with REDIS_URL: the given one, or that of `course-runner local`."""
    if values.get("REDIS_URL"):
        return dict(values)
    file = Path(options.state) / URL_FILE
    if not file.exists():
        raise BadSettings(
            [f"REDIS_URL is not set, and {file.parent} is no state of `course-runner local`."]
        )
    return {**values, "REDIS_URL": file.read_text(encoding="utf-8").strip()}


def _store(options: argparse.Namespace, values: Mapping[str, str]) -> Any:
    known = _with_redis(options, values)
    store = import_module("dispatcher.store")
    queue = Reader(known).text("QUEUE", names.DEFAULT_QUEUE)
    return store.Store(store.connect(Secret(known["REDIS_URL"])), queue, "command-line")


def _executor(options: argparse.Namespace, values: Mapping[str, str]) -> Any:
    service = import_module("dispatcher.service")
    known = _with_redis(options, values)
    return service.executor_from(service.settings_from(known, executor=_executor_name(options)))


def _executor_name(options: argparse.Namespace) -> str:
    """One machine when its state folder is here, a cluster otherwise; EXECUTOR overrides."""
    return "local" if Path(options.state).is_dir() else "kubernetes"


class _Parser(argparse.ArgumentParser):
    """Wrong use ends with 64, as wrong settings do; argparse's own 2 means nothing to anybody."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave."""
        self.print_usage(sys.stderr)
        self.exit(int(ExitCode.BAD_INPUT), f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="course-runner",
        description="Turns course orders of a Redis list into resumable runs.",
        epilog="Settings are environment variables; see docs/settings.md.",
    )
    parser.add_argument(
        "--state", default=STATE_DIR, help="state folder of `local` (default: %(default)s)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        return sub

    add("dispatch", _dispatch, "dispatch orders until told to stop")
    add("local", _local, "dispatch on this machine alone: own server, child processes, folders")
    _add_enqueue(add("enqueue", _enqueue, "push an order"))
    sub = add("list", _list, "list the tasks that are known")
    sub.add_argument("--status", help="only these: queued, running, waiting, failed, completed, …")
    sub.add_argument("--json", action="store_true", help="for programs")
    sub = add("show", _show, "show one task")
    sub.add_argument("task", metavar="ID")
    sub.add_argument("--json", action="store_true", help="for programs")
    sub = add("logs", _logs, "print the log of a task's newest run")
    sub.add_argument("task", metavar="ID")
    sub.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")
    for action, text in (
        ("retry", "run a failed or waiting task again on the volume it has"),
        ("cancel", "stop a task, wherever it stands, and set its row to cancelled"),
    ):
        sub = add(action, _ask, text)
        sub.set_defaults(action=action)
        sub.add_argument("task", metavar="ID")
    sub = add("dead", _dead, "list the messages that were no orders")
    sub.add_argument("--json", action="store_true", help="for programs")
    sub = add("reap", _reap, "remove what may go now; the dispatcher does so by itself")
    sub.add_argument("--dry-run", action="store_true", help="only say what would go, and why")
    sub.add_argument("--json", action="store_true", help="for programs")
    return parser


def _add_enqueue(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("task", metavar="ID|JSON", help="the task's id, or a whole message")
    sub.add_argument("url", nargs="?", metavar="URL", help="address of the course")
    sub.add_argument("--text-id", action="store_true", help="send a numeric id as text")
    sub.add_argument("--email", help="account that owns the course")
    sub.add_argument("--quality", help="height of the video, e.g. 720")
    sub.add_argument("--captions", help="languages, e.g. en,de or all")
    sub.add_argument("--volume-size", help="size of the volume, e.g. 50Gi")
    sub.add_argument("--force", action="store_true", help="run a finished task again")


if __name__ == "__main__":
    sys.exit(main())
