"""The journey's rules: the order of steps, a mark for each, only what is left is done again."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable

import pytest

from contract import names
from contract.outcome import ExitCode
from job_image.checkpoint import STEPS
from playground.portal import TOKEN as PORTAL_TOKEN
from playground.portal import Portal, actions
from playground.portal.courses import Article, Chapter, Course
from playground.receiver import Answer, Receiver
from tests.job_image.journey import GOOD, Journey
from tests.services import until

KILLED = -signal.SIGKILL


# --- the whole way --------------------------------------------------------------------------------
def test_an_order_goes_the_whole_way(journey: Journey, receiver: Receiver) -> None:
    ended = journey.run()
    assert (ended.code, ended.err) == (0, "")
    assert journey.done == list(STEPS)
    assert journey.uploaded() == {"test-course/01 - Start/001 Welcome.mp4": b"film"}
    assert journey.row == ("completed", "")
    assert journey.changes == ["running", "completed"]
    (delivery,) = receiver.deliveries
    assert delivery.genuine
    assert (delivery.json["task_id"], delivery.json["folder_name"]) == (999, "test-course")
    assert journey.released
    assert ended.words is not None
    assert (ended.words["category"], ended.words["exit"]) == ("done", 0)


def test_the_log_tells_the_way_in_the_old_worker_s_words(journey: Journey) -> None:
    told = [
        "[SANDBOX] Using ",
        "[ATTEMPT 1/3] Downloading course...",
        "[UPLOAD] Uploading to ",
        "[CHECK] Checking what the remote holds...",
        "[DB] Setting the row to completed...",
        "[WEBHOOK] Announcing the course...",
        "[CLEANUP] Letting go of the volume...",
        "[SUCCESS] Task 999 is done.",
    ]
    out = journey.run().out
    assert [out.count(line) for line in told] == [1] * len(told)
    places = [out.index(line) for line in told]
    assert places == sorted(places)


def test_the_log_is_kept_on_the_volume_for_every_run(journey: Journey) -> None:
    first, second = journey.run().out, journey.run().out
    kept = (journey.sandbox / names.STATE_DIR / names.LOG_FILE).read_text()
    assert "Downloading course..." in kept
    assert kept.count("[SANDBOX]") == 2
    assert len(kept.splitlines()) == len((first + second).splitlines())


def test_a_run_after_the_last_step_does_nothing_again(journey: Journey, receiver: Receiver) -> None:
    journey.run()
    ended = journey.run()
    assert ended.code == 0
    assert "Left to do: nothing." in ended.lines("RESUME")[0]
    assert journey.calls == 1
    assert len(receiver.deliveries) == 1
    assert journey.changes == ["running", "completed"]


def test_without_database_and_webhook_there_are_no_such_steps(
    journey: Journey, receiver: Receiver
) -> None:
    ended = journey.run(DATABASE_URL="", WEBHOOK_URL="")
    assert ended.code == 0
    assert journey.done == [step for step in STEPS if step not in ("record", "announce")]
    assert journey.row[0] == "queued"
    assert receiver.deliveries == []
    assert "WEBHOOK" not in ended.tags


# --- passing failures -----------------------------------------------------------------------------
def test_a_passing_failure_repeats_that_step_and_counts_the_attempts(journey: Journey) -> None:
    journey.download_with(f'[ "$n" -ge 3 ] || exit 1; {GOOD}')
    ended = journey.run()
    assert ended.code == 0
    assert journey.calls == 3
    attempts = [tag for tag in ended.tags if tag.startswith("ATTEMPT")]
    assert attempts == ["ATTEMPT 1/3", "ATTEMPT 2/3", "ATTEMPT 3/3"]
    assert ended.lines("KEEP") == ["Files are kept. Trying again in 0 s."] * 2
    assert len(ended.lines("ERROR")) == 2


def test_used_up_attempts_end_the_run_and_keep_what_is_there(
    journey: Journey, receiver: Receiver
) -> None:
    journey.download_with('printf half > "$1/part"; echo "no route to host"; exit 1')
    ended = journey.run(MAX_RETRIES="2")
    assert ended.code == ExitCode.TEMPORARY
    assert journey.calls == 2
    assert journey.done == []
    assert journey.fetched() == {"test-course/part": b"half"}
    assert journey.uploaded() == {}
    assert receiver.deliveries == []
    assert journey.row[0] == "running"
    words = ended.words or {}
    assert (words["category"], words["step"], words["exit"]) == ("temporary", "fetch", 75)
    assert "no route to host" in words["summary"]
    assert not words["told"]


def test_the_next_run_goes_on_with_what_the_last_one_left(journey: Journey) -> None:
    journey.download_with(f'test -e "$1/part" && {{ {GOOD}; exit 0; }}; touch "$1/part"; exit 1')
    assert journey.run(MAX_RETRIES="1").code == 75
    ended = journey.run(ATTEMPT="2")
    assert ended.code == 0
    assert journey.calls == 2


def test_an_undelivered_webhook_redoes_nothing_but_itself(
    journey: Journey, receiver: Receiver
) -> None:
    """The production fault: all files deleted and everything begun anew."""
    receiver.answer_with(Answer(500, times=1))
    ended = journey.run()
    assert ended.code == ExitCode.NOT_DELIVERED
    assert (ended.words or {})["step"] == "announce"
    assert journey.done == ["fetch", "upload", "verify", "record"]
    assert not journey.released
    assert journey.row[0] == "completed"
    assert journey.fetched()
    assert len(receiver.deliveries) == 1  # and the pipeline's own attempts do not hammer
    ended = journey.run(ATTEMPT="2")
    assert ended.code == 0
    assert journey.calls == 1
    assert journey.changes == ["running", "completed"]
    first, second = receiver.deliveries
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert journey.released


def test_a_webhook_s_wait_is_passed_on_to_the_dispatcher(
    journey: Journey, receiver: Receiver
) -> None:
    receiver.answer_with(Answer(429, headers={"Retry-After": "7200"}))
    ended = journey.run(WEBHOOK_TRIES="0,0,0")
    assert ended.code == ExitCode.NOT_DELIVERED
    assert (ended.words or {})["retry_after"] == 7200
    assert len(receiver.deliveries) == 1


def test_a_wait_that_is_longer_than_a_pod_should_idle_is_left_to_the_dispatcher(
    journey: Journey,
) -> None:
    """The platform asks for two hours; the attempts that are left would only annoy it."""
    course = Course("test-course", "Test", (Chapter("A", (Article("Read me", "<p>Hi</p>"),)),))
    with Portal([course]) as portal:
        portal.faults.add("api:*", actions.Status(429, retry_after=7200), times=None)
        del journey.settings["DOWNLOAD_COMMAND"]
        journey.settings["PLATFORM_TOKEN"] = PORTAL_TOKEN
        url = portal.course_url("test-course")
        ended = journey.run(TASK=json.dumps({"taskId": 999, "courseUrl": url}))
    assert ended.code == ExitCode.TEMPORARY
    assert (ended.words or {})["retry_after"] == 7200
    assert [tag for tag in ended.tags if tag.startswith("ATTEMPT")] == ["ATTEMPT 1/3"]


def test_what_is_missing_on_the_remote_is_uploaded_again(journey: Journey) -> None:
    assert journey.run(COURSE_RUNNER_FAULT="upload:marked").code == KILLED
    (journey.remote / "test-course/01 - Start/001 Welcome.mp4").unlink()
    ended = journey.run()
    assert ended.code == 0
    assert journey.uploaded() == {"test-course/01 - Start/001 Welcome.mp4": b"film"}
    assert journey.calls == 1


# --- failures for good ----------------------------------------------------------------------------
FINAL = [
    ExitCode.BAD_INPUT,
    ExitCode.AUTH_EXPIRED,
    ExitCode.NOT_ENTITLED,
    ExitCode.BLOCKED,
    ExitCode.VOLUME_FULL,
]


@pytest.mark.parametrize("code", FINAL)
def test_a_failure_for_good_ends_at_once_and_is_told_by_the_run_itself(
    journey: Journey, receiver: Receiver, code: ExitCode
) -> None:
    journey.download_with(f'echo "because of this"; exit {int(code)}')
    ended = journey.run()
    assert ended.code == code
    assert journey.calls == 1
    status, error = journey.row
    assert status == "failed"
    assert "because of this" in (error or "")
    assert (ended.words or {})["told"] is True
    assert receiver.deliveries == []  # the legacy controller knows success alone
    assert journey.done == []


def test_a_failure_event_is_sent_when_it_is_switched_on(
    journey: Journey, receiver: Receiver
) -> None:
    journey.download_with("exit 66")
    assert journey.run(WEBHOOK_FAILURE_EVENTS="true").code == 66
    (delivery,) = receiver.deliveries
    assert delivery.headers["x-signature"]
    assert delivery.json["status"] == "failed"
    assert delivery.json["error"]
    assert delivery.json["secret_key"]


def test_a_failure_that_cannot_be_told_says_so_for_the_dispatcher_to_see(
    journey: Journey, receiver: Receiver
) -> None:
    receiver.answer_with(Answer(500, times=9))
    journey.download_with("exit 65")
    ended = journey.run(WEBHOOK_FAILURE_EVENTS="true")
    assert ended.code == 65
    assert (ended.words or {})["told"] is False
    assert any("could not be passed on" in line for line in ended.lines("ERROR"))


def test_a_missing_row_is_said_before_hours_of_downloading(journey: Journey) -> None:
    journey.settings["TASK"] = '{"taskId":5,"courseUrl":"https://host/course/test-course/"}'
    ended = journey.run()
    assert ended.code == ExitCode.BAD_INPUT
    assert journey.calls == 0
    summary = (ended.words or {})["summary"]
    assert "tasks" in summary
    assert "5" in summary


# --- being told to stop ---------------------------------------------------------------------------
def stopped(journey: Journey, ready: Callable[[], object], **settings: str) -> tuple[int, float]:
    """Start, wait until `ready()`, send SIGTERM; returns the exit code and the seconds it took."""
    with journey.started(**settings) as process:
        until(ready, "the moment to stop", 30)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        ended = journey.ended(process)
        return ended.code, time.monotonic() - begun


def test_sigterm_ends_a_download_within_seconds_and_the_next_run_goes_on(
    journey: Journey,
) -> None:
    going = journey.folder / "going"
    journey.download_with(f'[ "$n" -ge 2 ] || {{ touch "{going}"; exec sleep 300; }}; {GOOD}')
    code, seconds = stopped(journey, going.exists)
    assert code == ExitCode.STOPPED
    assert seconds < 10
    assert journey.row[0] == "running"
    assert journey.run().code == 0


def test_sigterm_ends_a_wait_at_once(journey: Journey) -> None:
    journey.download_with("exit 1")
    log = journey.sandbox / names.STATE_DIR / names.LOG_FILE

    def waits() -> bool:
        return log.exists() and "Trying again in 300 s" in log.read_text()

    code, seconds = stopped(journey, waits, RETRY_WAIT="300")
    assert code == ExitCode.STOPPED
    assert seconds < 10
    assert json.loads((journey.folder / "termination").read_text())["category"] == "stopped"


def test_sigterm_ends_an_announcement_that_hangs_with_the_receiver(
    journey: Journey, receiver: Receiver
) -> None:
    receiver.answer_with(Answer(500, times=9))
    code, seconds = stopped(
        journey, lambda: receiver.deliveries, WEBHOOK_TRIES="0,300", WEBHOOK_TIMEOUT="5"
    )
    assert code == ExitCode.STOPPED
    assert seconds < 10
    assert journey.done == ["fetch", "upload", "verify", "record"]


def test_a_second_process_on_the_volume_ends_as_if_stopped_and_harms_nothing(
    journey: Journey,
) -> None:
    gate = journey.folder / "gate"
    os.mkfifo(gate)
    journey.download_with(f'read x < "{gate}"; {GOOD}')
    with journey.started() as process:
        until(lambda: journey.calls == 1, "the first one works", 30)
        second = journey.run()
        assert second.code == ExitCode.STOPPED
        assert "Another process" in second.lines("ERROR")[0]
        assert journey.calls == 1
        gate.write_text("go\n")
        assert journey.ended(process).code == 0
    assert journey.done == list(STEPS)
