"""`course-runner`: the command line for whoever runs or watches the system.

Everything but `dispatch`, `local`, `page`, `logs`, `reap` and `doctor` speaks to Redis alone, so a
laptop that reaches Redis is enough, and those commands start without the Kubernetes client. Exit
code 0 means done, 1 that the answer is no (unknown task, something found), 64 wrong use or
settings, 75 that something is away.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from contract import env
from contract.errors import BadSettings, CourseRunnerError, Misconfigured
from contract.outcome import ExitCode
from dispatcher import completion, operate, reach, shown

_PROGRAM = "course-runner"

STATE_DIR = ".course-runner"
"""Where `course-runner local` keeps its server's data, below the current folder."""

Command = Callable[[argparse.Namespace, Mapping[str, str]], int]

_REQUESTS = (
    ("retry", "run a failed or waiting task again on the volume it has"),
    ("cancel", "stop a task, wherever it stands, and set its row to cancelled"),
    ("pin", "keep a task's volume until it is unpinned"),
    ("unpin", "let a task's volume go when its time has come"),
    ("forget", "remove a task's volume now"),
)


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
    except BrokenPipeError:  # `course-runner list | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    service = import_module("dispatcher.service")
    service.serve(service.settings_from(values))
    return 0


def _local(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Dispatch on this machine, with an own server unless REDIS_URL names one."""
    import_module("dispatcher.local").run(Path(options.state), values)
    return 0


def _page(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Serve the operator's page. Late: its libraries are an extra that the dispatcher lacks."""
    try:
        program = import_module("dispatcher.web.program")
    except ModuleNotFoundError as exc:
        raise Misconfigured(
            f"The page's libraries are not installed: {exc.name} is missing.",
            advice="Run scripts/setup.sh local in the checkout.",
        ) from exc
    known = reach.to_look(options, values)
    program.run(known, reach.executor_name(options), until_eof=options.until_eof)
    return 0


def _late(name: str) -> Command:
    """Return a command of `terminal.commands`, which is loaded only when it is run."""

    def run(options: argparse.Namespace, values: Mapping[str, str]) -> int:
        return int(getattr(import_module("dispatcher.terminal.commands"), name)(options, values))

    return run


def _completion(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Print what makes a shell complete this program's words."""
    print(completion.script(options.shell, _PROGRAM), end="")
    return 0


def _complete(options: argparse.Namespace, values: Mapping[str, str]) -> int:
    """Print what may come next; where Redis cannot be asked, without ids."""

    def ids() -> list[str]:
        try:
            return [key for key, _ in reach.store(options, values).tasks()]
        except CourseRunnerError:
            return []

    for word in completion.candidates(_parser(), options.words, ids):
        print(word)
    return 0


class _Parser(argparse.ArgumentParser):
    """Wrong use ends with 64, as wrong settings do; argparse's own 2 means nothing to anybody."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave."""
        self.print_usage(sys.stderr)
        self.exit(int(ExitCode.BAD_INPUT), f"{self.prog}: {message}\n")


Add = Callable[[str, Command, str], argparse.ArgumentParser]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=_PROGRAM,
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
    sub = add("page", _page, "serve the operator's page and its API")
    sub.add_argument("--until-eof", action="store_true", help="end when standard input does")
    _add_enqueue(add("enqueue", operate.enqueue, "push an order"))
    _add_looks(add)
    _add_acts(add)
    _add_upkeep(add)
    _add_completion(add, commands.add_parser("complete"))
    return parser


def _add_completion(add: Add, hidden: argparse.ArgumentParser) -> None:
    sub = add("completion", _completion, "print what makes a shell complete these commands")
    sub.add_argument("shell", choices=list(completion.SHELLS))
    hidden.set_defaults(command=_complete)  # without a help text it is not listed
    hidden.add_argument("words", nargs="*")


def _add_looks(add: Add) -> None:
    sub = add("list", shown.tasks, "list the tasks that are known")
    sub.add_argument("--status", help="only these: queued, running, waiting, failed, completed, …")
    _add_json(sub)
    sub = add("show", shown.task, "show one task")
    sub.add_argument("task", metavar="ID")
    _add_json(sub)
    sub = add("watch", _late("watch"), "show the tasks under way live; plain lines in a pipe")
    sub.add_argument("tasks", nargs="*", metavar="ID", help="only these, until all have ended")
    sub = add("top", _late("top"), "show slots, rates and volumes live; once in a pipe")
    sub.add_argument("--once", action="store_true", help="once, on a terminal too")
    _add_json(sub)
    sub = add("why", shown.why, "say in one sentence why a task is where it is")
    sub.add_argument("task", metavar="ID")
    sub = add("logs", shown.logs, "print the log of a task's newest run")
    sub.add_argument("task", metavar="ID")
    sub.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")


def _add_acts(add: Add) -> None:
    for action, text in _REQUESTS:
        sub = add(action, operate.ask, text)
        sub.set_defaults(action=action)
        sub.add_argument("task", metavar="ID")
        if action == "forget":
            sub.add_argument(
                "--force", action="store_true", help="cancel it first if it is not over"
            )
    sub = add("pause", operate.pause, "let nothing be claimed; what was handed over goes on")
    sub.add_argument("why", nargs="?", default="", metavar="REASON", help="shown to whoever asks")
    add("resume", operate.resume, "let orders be claimed again")


def _add_upkeep(add: Add) -> None:
    sub = add("dead", operate.dead, "list, show, requeue or drop the messages that were no orders")
    verbs = ("list", "show", "requeue", "drop")
    sub.add_argument("verb", nargs="?", default="list", choices=verbs, help="default: list")
    sub.add_argument("number", nargs="?", default="", metavar="N|all", help="number in the list")
    _add_json(sub)
    sub = add("doctor", shown.doctor, "audit queue, board and volumes; 1 if anything is amiss")
    sub.add_argument("--last", action="store_true", help="what the dispatcher itself found last")
    _add_json(sub)
    sub = add("reap", operate.reap, "remove what may go now; the dispatcher does so by itself")
    sub.add_argument("--dry-run", action="store_true", help="only say what would go, and why")
    _add_json(sub)


def _add_json(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true", help="for programs")


def _add_enqueue(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("task", metavar="ID|JSON", help="the task's id, or a whole message")
    sub.add_argument("url", nargs="?", metavar="URL", help="address of the course")
    sub.add_argument("--text-id", action="store_true", help="send a numeric id as text")
    sub.add_argument("--email", help="account that owns the course")
    sub.add_argument("--quality", help="height of the video, e.g. 720")
    sub.add_argument("--captions", help="languages, e.g. en,de or all")
    sub.add_argument("--volume-size", help="size of the volume, e.g. 50Gi")
    sub.add_argument("--priority", type=int, help="higher goes first; the usual is 0")
    sub.add_argument("--force", action="store_true", help="run a finished task again")


if __name__ == "__main__":
    sys.exit(main())
