"""The boundary: what a run is given, and that it is no more than that."""

from __future__ import annotations

from contract import fault, handoff
from contract.handoff import FAULTS, PLAIN_SETTINGS, SECRET_SETTINGS, Assignment
from contract.task import Task

TASK = Task.parse(b'{"taskId":999,"courseUrl":"https://host/course/x/","tenant":"t"}')
EVERYTHING = {name: f"value of {name}" for name in PLAIN_SETTINGS + SECRET_SETTINGS}
OTHERS = {
    "REDIS_URL": "redis://secret@host",
    "MAX_ACTIVE": "5",
    "HOME": "/root",
    "SETTINGS_DIR": "x",
}


def test_secrets_are_passed_on_only_when_asked_for() -> None:
    with_them = handoff.job_environment(Assignment(TASK, 1), EVERYTHING, secrets=True)
    without = handoff.job_environment(Assignment(TASK, 1), EVERYTHING, secrets=False)
    assert set(SECRET_SETTINGS) <= set(with_them)
    assert not set(SECRET_SETTINGS) & set(without)
    for name in SECRET_SETTINGS:
        assert EVERYTHING[name] not in without.values()
    assert set(PLAIN_SETTINGS) <= set(without)


def test_nothing_but_the_listed_settings_is_passed_on() -> None:
    environment = handoff.job_environment(
        Assignment(TASK, 1), {**EVERYTHING, **OTHERS}, secrets=True
    )
    assert not set(OTHERS) & set(environment)


def test_empty_settings_are_left_to_the_programs_own_defaults() -> None:
    environment = handoff.job_environment(
        Assignment(TASK, 1), {"MAX_RETRIES": "", "DB_TABLE": "t"}, secrets=False
    )
    assert "MAX_RETRIES" not in environment
    assert environment["DB_TABLE"] == "t"


def test_a_run_gets_its_order_whole_and_its_number() -> None:
    environment = handoff.job_environment(Assignment(TASK, 3), {}, secrets=False)
    assert environment == {handoff.TASK: TASK.dump(), handoff.ATTEMPT: "3"}
    assert Task.parse(environment[handoff.TASK].encode()) == TASK


def test_a_closing_run_gets_its_outcome() -> None:
    environment = handoff.job_environment(Assignment(TASK, 3, "{}"), {}, secrets=False)
    assert environment[handoff.REPORT] == "{}"


def test_an_order_cannot_smuggle_a_setting_in() -> None:
    """Unknown fields of the message stay in the message."""
    order = Task.parse(b'{"taskId":1,"courseUrl":"https://host/c/x/","REPORT":"x","TASK":"y"}')
    environment = handoff.job_environment(Assignment(order, 1), {}, secrets=True)
    assert set(environment) == {handoff.TASK, handoff.ATTEMPT}


def test_tests_can_choose_where_a_run_dies() -> None:
    chosen = {fault.POINT: "fetch:done", fault.ONCE: "/x"}
    environment = handoff.job_environment(Assignment(TASK, 1), chosen, secrets=False)
    assert {name: environment[name] for name in FAULTS} == chosen


def test_no_setting_is_both_plain_and_secret() -> None:
    assert not set(PLAIN_SETTINGS) & set(SECRET_SETTINGS)
