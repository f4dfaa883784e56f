"""`python -m job_image` from outside: exit codes, last words, and not a secret in any of them."""

from __future__ import annotations

import json
import re
import time

import pytest

from contract import names
from contract.outcome import MESSAGE_LIMIT, ExitCode, Outcome
from playground.receiver import Answer, Receiver
from tests.job_image.journey import GOOD, SECRET, SIGNING_KEY, TOKEN, Ended, Journey

SECRETS = (SECRET, SIGNING_KEY, TOKEN)


def assert_says_no_secret(journey: Journey, ended: Ended) -> None:
    """Neither output, nor last words, nor the log on the volume."""
    log = journey.sandbox / names.STATE_DIR / names.LOG_FILE
    kept = log.read_text() if log.exists() else ""
    for said in (ended.out, ended.err, json.dumps(ended.words), kept):
        assert not [secret for secret in SECRETS if secret in said]


# --- 64: message or settings ----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("TASK", ""),
        ("PLATFORM_TOKEN", ""),
        ("MAX_RETRIES", "none"),
        ("RETRY_WAIT", "soon"),
        ("LOG_FORMAT", "xml"),
        ("WEBHOOK_URL", "backend"),
        ("API_SECRET_KEY", ""),
        ("WEBHOOK_SIGNING_KEY", "whsec_?"),
        ("WEBHOOK_TRIES", "often"),
        ("DB_TABLE", "a b"),
        ("RCLONE_REMOTE", "nowhere"),
        ("PLATFORM_URL", "udemy"),
        ("SETTINGS_DIR", "/not/there"),
    ],
)
def test_a_bad_setting_ends_with_64_and_is_named(
    journey: Journey, setting: str, value: str
) -> None:
    del journey.settings["DOWNLOAD_COMMAND"]  # so that the token counts
    ended = journey.run(**{setting: value})
    assert ended.code == ExitCode.BAD_INPUT
    assert any(line.startswith(setting) for line in ended.lines("ERROR"))
    assert setting in (ended.words or {})["summary"]
    assert ended.err == ""
    assert_says_no_secret(journey, ended)


def test_all_faults_are_listed_one_to_a_line(journey: Journey) -> None:
    ended = journey.run(MAX_RETRIES="x", RETRY_WAIT="x", DB_TABLE="a b", LOG_FORMAT="xml")
    named = [line.split(" ")[0] for line in ended.lines("ERROR")]
    assert sorted(named) == ["DB_TABLE", "LOG_FORMAT", "MAX_RETRIES", "RETRY_WAIT"]
    assert not journey.fetched()


@pytest.mark.parametrize("task", ["no json", "{}", '{"taskId":1}', "[1]"])
def test_a_message_that_is_no_order_ends_with_64(journey: Journey, task: str) -> None:
    ended = journey.run(TASK=task)
    assert ended.code == ExitCode.BAD_INPUT
    assert (ended.words or {})["category"] == "bad_input"


def test_check_reads_the_settings_and_does_nothing(journey: Journey, receiver: Receiver) -> None:
    del journey.settings["TASK"]
    assert journey.run("check").code == 0
    ended = journey.run("check", MAX_RETRIES="x")
    assert ended.code == ExitCode.BAD_INPUT
    assert ended.lines("ERROR") == ["MAX_RETRIES must be a whole number of at least 1."]
    assert not (journey.sandbox / names.STATE_DIR).exists()
    assert receiver.deliveries == []


def test_settings_can_come_from_a_mounted_secret(journey: Journey) -> None:
    folder = journey.folder / "secret"
    folder.mkdir()
    for name in ("API_SECRET_KEY", "WEBHOOK_SIGNING_KEY", "DATABASE_URL", "PLATFORM_TOKEN"):
        (folder / name).write_text(journey.settings.pop(name) + "\n")
    ended = journey.run(SETTINGS_DIR=str(folder))
    assert ended.code == 0
    assert journey.receiver.deliveries[0].genuine
    assert_says_no_secret(journey, ended)


# --- 70: a bug ------------------------------------------------------------------------------------
@pytest.fixture
def broken(journey: Journey) -> Journey:
    """An installation in which the SQL library does not load: what nobody has foreseen."""
    module = f"raise RuntimeError('broken: {SECRET} https://u:p@host/x?sig=1')\n"
    (journey.folder / "sqlalchemy.py").write_text(module)
    return journey


def test_an_unexpected_exception_ends_with_70_and_a_traceback(broken: Journey) -> None:
    ended = broken.run()
    assert ended.code == ExitCode.BUG
    assert "Traceback (most recent call last):" in ended.out
    assert "RuntimeError: broken" in ended.out
    words = ended.words or {}
    assert words["category"] == "bug"
    assert words["summary"].startswith("Unexpected RuntimeError: broken")
    assert_says_no_secret(broken, ended)
    assert "sig=1" not in ended.out
    assert "u:p@" not in ended.out


def test_a_traceback_is_kept_on_the_volume(broken: Journey) -> None:
    broken.run()
    log = (broken.sandbox / names.STATE_DIR / names.LOG_FILE).read_text()
    assert "RuntimeError: broken" in log


def test_a_traceback_in_json_is_one_line(broken: Journey) -> None:
    ended = broken.run(LOG_FORMAT="json")
    records = [json.loads(line) for line in ended.out.splitlines()]
    (bug,) = [record for record in records if "traceback" in record]
    assert "RuntimeError: broken" in bug["traceback"]
    assert SECRET not in ended.out


# --- last words -----------------------------------------------------------------------------------
def test_last_words_are_short_and_free_of_secrets_whatever_was_said(journey: Journey) -> None:
    """A downloader that prints everything it was given, many times over."""
    leak = 'echo "token $PLATFORM_TOKEN https://cdn/x?Signature=abc Authorization: Bearer abcdefgh"'
    journey.download_with(f"for i in $(seq 200); do {leak}; done; printf '%5000s\\n' x; exit 1")
    ended = journey.run(MAX_RETRIES="1")
    assert ended.code == ExitCode.TEMPORARY
    text = (journey.folder / "termination").read_text()
    assert len(text.encode()) <= MESSAGE_LIMIT
    assert Outcome.parse(text) is not None
    assert_says_no_secret(journey, ended)
    assert "Signature=abc" not in ended.out + text
    assert "abcdefgh" not in ended.out + text


def test_a_place_for_last_words_that_refuses_them_costs_nothing(journey: Journey) -> None:
    journey.download_with("exit 65")
    assert journey.run(TERMINATION_LOG="/not/there/at/all").code == ExitCode.AUTH_EXPIRED


def test_json_lines_carry_task_attempt_and_phase(journey: Journey) -> None:
    ended = journey.run(LOG_FORMAT="json", ATTEMPT="4")
    records = [json.loads(line) for line in ended.out.splitlines()]
    assert {record["task_id"] for record in records} == {999}
    assert all(
        set(record) == {"ts", "level", "task_id", "attempt", "phase", "event", "msg"}
        for record in records
    )
    (download,) = [r for r in records if r["msg"] == "Downloading course..."]
    assert (download["event"], download["phase"]) == ("attempt", "fetch")
    assert records[0]["attempt"] == 4


def test_the_text_lines_have_the_old_worker_s_form(journey: Journey) -> None:
    line = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] \[[A-Z]+( \d/\d)?\] .+")
    out = journey.run().out.splitlines()
    assert [text for text in out if not line.fullmatch(text)] == []


# --- another order's volume -----------------------------------------------------------------------
def test_a_volume_with_another_order_is_left_untouched_and_the_failure_is_told(
    journey: Journey,
) -> None:
    journey.run(COURSE_RUNNER_FAULT="fetch:marked")
    before = (journey.sandbox / names.STATE_DIR / names.CHECKPOINT_FILE).read_bytes()
    other = '{"taskId":999,"courseUrl":"https://host/course/another/"}'
    ended = journey.run(TASK=other)
    assert ended.code == ExitCode.BAD_INPUT
    assert (ended.words or {})["told"] is True
    assert journey.row[0] == "failed"
    assert journey.calls == 1
    assert (journey.sandbox / names.STATE_DIR / names.CHECKPOINT_FILE).read_bytes() == before


# --- the closing run ------------------------------------------------------------------------------
def outcome(category: str = "crashed") -> str:
    """What the dispatcher hands to a closing run."""
    return Outcome(category, "The run died without a word (OOMKilled).", "Give it memory.").dump()


@pytest.mark.parametrize(
    ("category", "status"), [("crashed", "failed"), ("cancelled", "cancelled")]
)
def test_a_closing_run_sets_the_row_and_touches_no_file(
    journey: Journey, receiver: Receiver, category: str, status: str
) -> None:
    journey.download_with('printf half > "$1/part"; exit 1')
    journey.run(MAX_RETRIES="1")
    before = journey.fetched()
    ended = journey.run("report", REPORT=outcome(category))
    assert (ended.code, ended.err) == (0, "")
    assert journey.row == (status, "The run died without a word (OOMKilled).")
    assert ended.lines("KEEP") == ["Give it memory."]
    assert journey.calls == 1
    assert journey.fetched() == before
    assert receiver.deliveries == []
    assert not journey.released


def test_a_closing_run_works_on_a_volume_that_no_run_has_seen(journey: Journey) -> None:
    assert journey.run("report", REPORT=outcome("cancelled")).code == 0
    assert journey.row[0] == "cancelled"


def test_a_closing_run_of_another_order_s_volume_still_tells(journey: Journey) -> None:
    journey.run(COURSE_RUNNER_FAULT="fetch:marked")
    other = '{"taskId":999,"courseUrl":"https://host/course/another/"}'
    assert journey.run("report", REPORT=outcome(), TASK=other).code == 0
    assert journey.row[0] == "failed"


def test_a_closing_run_never_takes_a_completed_row_back(
    journey: Journey, receiver: Receiver
) -> None:
    receiver.answer_with(Answer(500))
    assert journey.run().code == ExitCode.NOT_DELIVERED
    assert journey.run("report", REPORT=outcome()).code == 0
    assert journey.row[0] == "completed"


def test_the_failure_event_is_the_same_in_every_try_and_another_after_the_next_failure(
    journey: Journey, receiver: Receiver
) -> None:
    on = {"WEBHOOK_FAILURE_EVENTS": "true", "REPORT": outcome()}
    receiver.answer_with(Answer(500, times=2))
    for _ in range(2):
        assert journey.run("report", **on).code == ExitCode.NOT_DELIVERED
    assert journey.run("report", **on).code == 0
    first, *others = receiver.deliveries
    assert abs(first.json["timestamp"] - time.time()) < 60
    assert {other.body for other in others} == {first.body}
    assert {other.headers["webhook-id"] for other in others} == {first.headers["webhook-id"]}
    marks = journey.sandbox / names.STATE_DIR / names.CHECKPOINT_FILE
    journey.download_with("exit 1")
    journey.run(MAX_RETRIES="1")  # an operator's retry, which fails again
    assert json.loads(marks.read_text())["failed_at"] == 0


@pytest.mark.parametrize("report", ["", "{}", "Killed", "[1]"])
def test_a_closing_run_without_an_outcome_ends_with_64(journey: Journey, report: str) -> None:
    ended = journey.run("report", REPORT=report)
    assert ended.code == ExitCode.BAD_INPUT
    assert "REPORT" in (ended.words or {})["summary"]
    assert journey.row[0] == "queued"


# --- progress -------------------------------------------------------------------------------------
def test_a_redis_for_progress_that_is_away_delays_nothing(journey: Journey) -> None:
    journey.download_with(GOOD)
    ended = journey.run(PROGRESS_REDIS_URL="redis://:hidden-pass@127.0.0.1:1/0")
    assert ended.code == 0
    assert "hidden-pass" not in ended.out
