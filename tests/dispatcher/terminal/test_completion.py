"""Completion: what may come next, asked as three shells and kubectl ask."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.env import Secret
from dispatcher.completion import script
from dispatcher.store import Store, connect
from tests.dispatcher.own_redis import OwnRedis
from tests.dispatcher.terminal.pseudo import Terminal
from tests.services import absent, until

PROGRAM = str(Path(sys.executable).with_name("course-runner"))
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
FOREIGN = ("1;touch x", "1;touch${IFS}x", "*", "$(touch x)", "`touch x`", "--force", "a\nb", "é")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    """A Redis with two tasks on its board, and some whose ids mean something to a shell."""
    server = OwnRedis(tmp_path_factory.mktemp("redis"))
    server.start()
    store = Store(connect(Secret(server.url)), "queue", "test")
    for task in ("order-7", "order-8", *FOREIGN):
        store.write(task, {"status": "running"})
    yield server
    server.stop()


def asked(place: Path, *words: str, **settings: str) -> list[str]:
    """What the program says to a shell. The last word is the one under the cursor."""
    done = subprocess.run(
        [PROGRAM, "complete", "--", *words], cwd=place, env={"PATH": PATH, **settings},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["wa"], ["watch"]),
        (["un"], ["unpin"]),
        (["no-such-command", ""], []),
        (["dead", ""], ["drop", "list", "requeue", "show"]),
        (["dead", "re"], ["requeue"]),
        (["dead", "show", ""], []),
        (["list", "--"], ["--help", "--json", "--status"]),
        (["list", "--status", ""], []),
        (["--state", "/x", "res"], ["resume"]),
        (["--state", "wa"], []),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["enqueue", "7", "--q"], ["--quality"]),
        (["show", "--", "--"], []),
    ],
)
def test_what_may_come_next_is_read_from_the_commands_themselves(
    words: list[str], found: list[str], tmp_path: Path
) -> None:
    assert asked(tmp_path, *words) == found


def test_all_commands_that_help_lists_are_offered_and_nothing_else(tmp_path: Path) -> None:
    helped = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True).stdout
    indented = [line for line in helped.splitlines() if line.startswith("    ") and line[4] != " "]
    assert asked(tmp_path, "") == sorted(line.split()[0] for line in indented)


def test_only_ids_that_no_shell_can_misread_are_offered(home: OwnRedis, tmp_path: Path) -> None:
    """Whoever may order chooses ids; whoever presses Tab would run them."""
    assert asked(tmp_path, "show", "", REDIS_URL=home.url) == ["order-7", "order-8"]
    assert asked(tmp_path, "show", "1", REDIS_URL=home.url) == []


def test_ids_of_tasks_are_offered_where_one_may_come(home: OwnRedis, tmp_path: Path) -> None:
    reach = {"REDIS_URL": home.url}
    assert asked(tmp_path, "show", "", **reach) == ["order-7", "order-8"]
    assert asked(tmp_path, "watch", "order-7", "", **reach) == ["order-7", "order-8"]
    assert asked(tmp_path, "forget", "--force", "x", **reach) == []
    assert asked(tmp_path, "pause", "", **reach) == []


def test_without_a_redis_there_are_no_ids_and_no_error(tmp_path: Path) -> None:
    assert asked(tmp_path, "show", "", REDIS_URL="redis://127.0.0.1:1/0") == []
    assert asked(tmp_path, "show", "") == []


# --- in real shells -------------------------------------------------------------------------------
SHELLS = {
    "bash": (["--norc", "--noprofile", "-i"], 'eval "$(course-runner completion bash)"'),
    "zsh": (
        ["-f", "-i"],
        'autoload -U compinit; compinit -u -D; eval "$(course-runner completion zsh)"',
    ),
    "fish": (["--no-config", "-i"], "course-runner completion fish | source"),
}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_a_command_and_an_id(shell: str, home: OwnRedis, tmp_path: Path) -> None:
    """Keys are pressed on a terminal: a beginning, then Tab."""
    program = shutil.which(shell) or absent(shell)
    options, set_up = SHELLS[shell]
    env = {"PATH": PATH, "TERM": "xterm", "HOME": str(tmp_path), "REDIS_URL": home.url, "PS1": "> "}
    shown = Terminal([program, *options], env, tmp_path)
    try:
        shown.type(f"{set_up}; echo se''t-up\n")
        until(lambda: "set-up" in shown.read(), "the script is read")
        shown.type("course-runner comple\t")
        until(lambda: "course-runner completion" in shown.read().split("set-up")[-1], "a command")
        shown.type("\x15course-runner why order-7\x08\x08\x08\t")  # all but "orde"
        shown.type("8 --he\t\r")
        until(lambda: "say in one sentence" in shown.read(), "an id, then an option: its help")
    finally:
        shown.close()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("offer", ["1;touch x", "1*;touch${IFS}x", "1$(touch x)"])
def test_a_shell_takes_what_it_is_offered_as_one_word(
    shell: str, offer: str, tmp_path: Path
) -> None:
    """Even a program that offers such a word makes nothing run: the shell's script quotes it."""
    program = shutil.which(shell) or absent(shell)
    options, set_up = SHELLS[shell]
    (tmp_path / "offer").write_text(f"{offer}\n")
    told = tmp_path / "bin" / "told"
    told.parent.mkdir()
    told.write_text('#!/bin/sh\n[ "$1" = complete ] && exec cat offer\necho "took $#: $1"\n')
    told.chmod(0o755)
    (tmp_path / "script").write_text(script(shell, "told"))
    env = {"PATH": f"{told.parent}:{PATH}", "TERM": "xterm", "HOME": str(tmp_path), "PS1": "> "}
    shown = Terminal([program, *options], env, tmp_path)
    try:
        asks = f"course-runner completion {shell}"
        shown.type(f"{set_up.replace(asks, 'cat script')}; echo se''t-up\n")
        until(lambda: "set-up" in shown.read(), "the script is read")
        shown.type("told 1\t\r")
        until(lambda: "took " in shown.read(), "the command runs")
        shown.type("echo en''d\r")
        until(lambda: "end" in shown.read().split("took ")[-1], "what followed it has run")
        assert f"took 1: {offer}" in shown.read()
        assert not (tmp_path / "x").exists()
    finally:
        shown.close()
