"""`kubectl course …`: the command line as a kubectl plugin; kubectl finds it by its name on PATH.

With REDIS_URL it is the command line itself. Without, the command is run where everything is at
hand, in the dispatcher's pod, by `kubectl exec`: whoever may do that needs nothing but kubectl and
this file. The dispatcher is found by the labels that the chart gives it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from contract import names
from contract.outcome import ExitCode
from dispatcher import cli

CHOICE = "COURSE_RUNNER_DEPLOYMENT"
"""Environment variable that names the dispatcher's Deployment where there are several."""

SELECTOR = f"{names.LABEL_PART_OF}=course-runner,{names.LABEL_COMPONENT}=dispatcher"

WITH_VALUE = (
    "-n",
    "--namespace",
    "--context",
    "--kubeconfig",
    "--cluster",
    "--user",
    "-s",
    "--server",
)
"""kubectl's own options, which stand before the command: `kubectl course -n courses list`."""


@dataclass(frozen=True, slots=True)
class Words:
    """A command line, parted: what is kubectl's, what is the command's."""

    for_kubectl: list[str]
    command: list[str]


def main() -> int:
    """Run the command here, or in the dispatcher's pod; return its exit code."""
    words = part(sys.argv[1:])
    if os.environ.get("REDIS_URL") or not words.command or words.command[0] in ("-h", "--help"):
        return cli.main(words.command or ["--help"])
    try:
        return _there(words)
    except FileNotFoundError:
        print("kubectl-course: there is no kubectl on PATH.", file=sys.stderr)
        return int(ExitCode.BAD_INPUT)
    except KeyboardInterrupt:
        return 130


def part(arguments: Sequence[str]) -> Words:
    """Part kubectl's options, as far as they stand first, from the command."""
    left = list(arguments)
    ours: list[str] = []
    while left and left[0].partition("=")[0] in WITH_VALUE:
        count = 1 if "=" in left[0] else 2
        ours, left = ours + left[:count], left[count:]
    return Words(ours, left)


def _there(words: Words) -> int:
    found = [os.environ[CHOICE]] if os.environ.get(CHOICE) else _dispatchers(words.for_kubectl)
    if len(found) != 1:
        print(f"kubectl-course: {_not_one(found)}", file=sys.stderr)
        return int(ExitCode.BAD_INPUT)
    target = found[0] if "/" in found[0] else f"deployment/{found[0]}"
    terminal = ["--stdin", "--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    ask = ["exec", *words.for_kubectl, "--quiet", *terminal, target, "--container=dispatcher"]
    return subprocess.run(
        ["kubectl", *ask, "--", "course-runner", *words.command], check=False
    ).returncode


def _dispatchers(for_kubectl: Sequence[str]) -> list[str]:
    """Return the dispatchers in the namespace. What kubectl has to complain of, it says itself."""
    ask = ["get", "deployments", *for_kubectl, f"--selector={SELECTOR}", "--output=name"]
    said = subprocess.run(["kubectl", *ask], stdout=subprocess.PIPE, text=True, check=False)
    if said.returncode:
        sys.exit(said.returncode)
    return said.stdout.split()


def _not_one(found: Sequence[str]) -> str:
    if not found:
        return (
            "there is no course-runner in this namespace. Name its namespace first "
            "(kubectl course -n NAMESPACE list), or set REDIS_URL to reach the queue itself."
        )
    return f"there are several dispatchers ({', '.join(found)}); set {CHOICE} to one of them."


def complete() -> int:
    """Answer kubectl, which asks `kubectl_complete-course` with the words behind `course`.

    The last line is a directive of the library that kubectl completes with: 4 is "no file names".
    """
    words = part(sys.argv[1:])
    if len(words.for_kubectl) != len(sys.argv[1:]):
        cli.main(["complete", "--", *words.command])
    print(":4")
    return 0
