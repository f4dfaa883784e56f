"""The log: one line per record, the line of the design, and never a secret."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from contract.log import JsonFormatter, Log, Redactor, TextFormatter, set_up

AT = datetime(2026, 1, 12, 16, 0, 5, 250_000, tzinfo=UTC).timestamp()


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    """A record of a fixed moment, as `Log` makes them."""
    made = logging.LogRecord("course-runner", logging.INFO, __file__, 1, message, args, None)
    made.created = AT
    made.__dict__.update(extra)
    return made


def text(message: str, *args: object, secrets: tuple[str, ...] = (), **extra: object) -> str:
    """The text line of one record."""
    return TextFormatter(Redactor(secrets)).format(record(message, *args, **extra))


# --- the line -------------------------------------------------------------------------------------
def test_the_text_line_is_the_one_of_the_old_worker() -> None:
    line = text("Downloading course...", tag="ATTEMPT 1/3")
    assert line == "[2026-01-12 16:00:05] [ATTEMPT 1/3] Downloading course..."


def test_the_json_line_has_the_fields_that_programs_read() -> None:
    bound = {"task_id": 999, "attempt": 2, "phase": "fetch"}
    made = record("Downloading %s...", "it", tag="ATTEMPT 1/3", bound=bound)
    assert json.loads(JsonFormatter(Redactor()).format(made)) == {
        "ts": "2026-01-12T16:00:05.250+00:00",
        "level": "info",
        "task_id": 999,
        "attempt": 2,
        "phase": "fetch",
        "event": "attempt",
        "msg": "Downloading it...",
    }


@pytest.fixture
def logged() -> Callable[..., list[str]]:
    """Log with `Log` in a style and return the lines."""

    def write(style: str, *secrets: str) -> list[str]:
        stream = io.StringIO()
        set_up(style, Redactor(secrets), stream)
        log = Log.for_task("a1").bind(attempt=3)
        log.event("SANDBOX", "Using %s.", "/sandbox")
        log.bind(phase="upload").error("It broke: %s", "why")
        log.warning("Careful.")
        try:
            raise ValueError("inner s3cret!")
        except ValueError:
            log.exception("Bug.")
        return stream.getvalue().splitlines()

    return write


def test_a_log_writes_tags_and_levels_as_text(logged: Callable[..., list[str]]) -> None:
    lines = [line.partition("] ")[2] for line in logged("text")]
    assert lines[0] == "[SANDBOX] Using /sandbox."
    assert lines[1] == "[ERROR] It broke: why"
    assert lines[2] == "[WARNING] Careful."
    assert lines[3] == "[ERROR] Bug."


def test_a_log_carries_what_was_bound_as_json(logged: Callable[..., list[str]]) -> None:
    first, second, _, bug = (json.loads(line) for line in logged("json"))
    assert (first["task_id"], first["attempt"], first["phase"]) == ("a1", 3, None)
    assert (second["phase"], second["level"], second["event"]) == ("upload", "error", "error")
    assert "ValueError: inner" in bug["traceback"]


def test_a_traceback_is_redacted_too(logged: Callable[..., list[str]]) -> None:
    for style in ("text", "json"):
        whole = "\n".join(logged(style, "s3cret!"))
        assert "ValueError: inner ****" in whole
        assert "s3cret!" not in whole


@given(st.text(max_size=60))
def test_a_message_is_one_line_whatever_it_holds(message: str) -> None:
    """A course title with a line break must not forge a second line, nor steer the terminal."""
    line = text("%s", message)
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    line = JsonFormatter(Redactor()).format(record("%s", message))
    assert len(line.splitlines()) == 1


def test_setting_up_again_replaces_what_was_set_up_before() -> None:
    first, second = io.StringIO(), io.StringIO()
    set_up("text", Redactor(), first)
    set_up("text", Redactor(), second)
    Log.for_task().event("CHECK", "Once.")
    assert first.getvalue() == ""
    assert second.getvalue().count("Once.") == 1


# --- streams that refuse --------------------------------------------------------------------------
def python(code: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a program that logs."""
    known = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd()), **environment}
    return subprocess.run([sys.executable, "-c", code], env=known, capture_output=True, timeout=30)


LOGS = "from contract.log import *; set_up('text', Redactor(['s3cret']){more}); l=Log.for_task(); "


def test_letters_that_standard_output_cannot_encode_cost_no_line() -> None:
    code = LOGS.format(more="") + "l.event('A', '%s', 'ü 漢 \\udcff'); l.event('B', 'next')"
    done = python(code, PYTHONIOENCODING="latin-1")
    assert done.stderr == b""
    lines = done.stdout.decode("latin-1").splitlines()
    assert lines[0].endswith("[A] ü \\u6f22 \\udcff")
    assert lines[1].endswith("[B] next")


def test_a_full_disk_costs_the_line_there_and_prints_no_arguments_elsewhere() -> None:
    """logging's own complaint would print the arguments as they came, secrets and all."""
    code = LOGS.format(more=", sys.stdout, open('/dev/full', 'w')") + "l.event('A', '%s', 's3cret')"
    done = python(code)
    assert done.stdout.strip().endswith(b"[A] ****")
    assert b"s3cret" not in done.stderr


# --- secrets --------------------------------------------------------------------------------------
SECRETS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="*"), min_size=4, max_size=30
)


@given(SECRETS, st.text(max_size=20), st.text(max_size=20), st.sampled_from(["text", "json"]))
def test_a_registered_secret_never_survives(
    secret: str, before: str, after: str, style: str
) -> None:
    redact = Redactor([secret])
    formatter = TextFormatter(redact) if style == "text" else JsonFormatter(redact)
    empty = formatter.format(record(""))
    assume(secret not in empty)
    for spelt in (secret, repr(secret), json.dumps(secret), " ".join(secret.split("\n"))):
        line = formatter.format(record("%s", before + spelt + after))
        shown = line if style == "text" else json.loads(line)["msg"]
        assert secret not in shown
        assert secret not in line


@given(st.lists(SECRETS, min_size=1, max_size=4))
def test_secrets_that_hold_or_touch_each_other_all_go(secrets: list[str]) -> None:
    redact = Redactor(secrets)
    shown = redact(" ".join(secrets) + "".join(secrets))
    assert not [secret for secret in secrets if secret in shown]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "GET https://cdn.example/v.mp4?Expires=1&Signature=abc&Key-Pair-Id=K failed",
            "GET https://cdn.example/v.mp4?**** failed",
        ),
        ("redis://:pass@host:6379/0 is away", "redis://****@host:6379/0 is away"),
        ("postgresql+psycopg://u:p@ss@db/x", "postgresql+psycopg://****@db/x"),
        ("https://medium.example/@user/post", "https://medium.example/@user/post"),
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer ****"),
        ("authorization: basic dXNlcjpwYXNz", "authorization: basic ****"),
        ("PLATFORM_TOKEN=abc123 and more", "PLATFORM_TOKEN=**** and more"),
        ('{"secret_key":"abc","task_id":1}', '{"secret_key":****,"task_id":1}'),
        ("access_token: abc123, next", "access_token: ****, next"),
        ("password = 'two words' end", "password = **** end"),
        ("api_key=1&x=2", "api_key=****&x=2"),
        ("X-Signature: sha256=00ff", "X-Signature: ****"),
        ("The access token expired.", "The access token expired."),
        ("Nothing to hide: 10 files.", "Nothing to hide: 10 files."),
    ],
)
def test_what_looks_like_a_secret_is_cut_out_and_nothing_else(message: str, shown: str) -> None:
    assert Redactor()(message) == shown


def test_the_password_of_an_address_goes_however_it_is_spelt() -> None:
    redact = Redactor(["postgresql://user:p%40ss-w%2Frd@db/x"])
    for spelt in ("p%40ss-w%2Frd", "p@ss-w/rd"):
        assert spelt not in redact(f"no user with {spelt} here")


def test_a_secret_of_three_letters_is_left_for_it_would_blank_out_every_line() -> None:
    assert Redactor(["abc"])("abc abcd") == "abc abcd"


@pytest.mark.parametrize(
    "unit", ["a-", "a", "_", "x://", "token", "token ", 'token="', "bearer ", "a.b-", "@", "'\""]
)
def test_a_line_of_64_kib_is_redacted_in_a_moment(unit: str) -> None:
    """An order may hold such an address; minutes per line would stop everything (a 2 s bound)."""
    line = (unit * 65536)[:65536]
    started = time.process_time()
    Redactor(["s3cret"])(line)
    assert time.process_time() - started < 2
