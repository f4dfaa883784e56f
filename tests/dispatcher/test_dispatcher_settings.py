"""The dispatcher's settings: the usual ones are the documented ones, faults come together."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.env import Reader
from contract.errors import BadSettings
from dispatcher.service import settings_from
from dispatcher.settings import LOCAL, Limits, Settings, read

LEAST = {"REDIS_URL": "redis://:s3cret@host:6379/0", "EXECUTOR": LOCAL}


def settings(**values: str) -> Settings:
    """Settings of a dispatcher on one machine."""
    return settings_from({**LEAST, **values})


def test_the_usual_limits_are_those_that_users_are_told() -> None:
    limits = settings().limits
    assert limits == Limits()
    assert limits.max_active == 5
    assert limits.keep_completed == 10 * 60
    assert limits.keep_failed == limits.remember == 7 * 86400
    assert limits.temporary == (300, 1800, 7200)


def test_the_usual_surroundings() -> None:
    usual = settings()
    assert usual.queue == "rq:queue:downloads"
    assert usual.staging == Path("Staging_Download")
    assert (usual.health_port, usual.log_format) == (8080, "text")


def test_every_limit_can_be_set() -> None:
    limits = settings(
        MAX_ACTIVE="7",
        KEEP_COMPLETED="1min",
        KEEP_FAILED="2d",
        REMEMBER="3d",
        REAP_MIN_AGE="0",
        RETRY_SCHEDULE="1s,2s",
        WEBHOOK_SCHEDULE="none",
        CRASH_SCHEDULE="5min",
        MAX_STOPPED="2",
    ).limits
    assert limits == Limits(7, 60, 172800, 259200, 0, (1, 2), (), (300,), 2)


def test_all_faults_are_reported_together() -> None:
    faulty = {
        "REDIS_URL": "http://host",
        "EXECUTOR": "docker",
        "MAX_ACTIVE": "0",
        "KEEP_FAILED": "for ever",
        "LOG_FORMAT": "xml",
        "HEALTH_PORT": "70000",
        "RETRY_SCHEDULE": "soon",
    }
    with pytest.raises(BadSettings) as caught:
        settings_from(faulty, executor=LOCAL)
    named = [fault.split(" ", 1)[0] for fault in caught.value.faults]
    assert sorted(named) == sorted(faulty)


def test_without_a_queue_nothing_starts() -> None:
    with pytest.raises(BadSettings, match="REDIS_URL is not set"):
        settings_from({"EXECUTOR": LOCAL})


def test_the_cluster_is_the_usual_executor_and_needs_an_image() -> None:
    with pytest.raises(BadSettings, match="JOB_IMAGE"):
        settings_from({"REDIS_URL": "redis://host"})


def test_two_dispatchers_of_one_machine_have_two_names_unless_they_are_given_one() -> None:
    assert settings().identity != settings().identity
    assert settings(DISPATCHER_ID="d1").identity == "d1"


def test_settings_never_show_what_is_secret() -> None:
    assert "s3cret" not in repr(settings(API_SECRET_KEY="s3cret"))


def test_a_missing_queue_is_a_fault_among_the_others() -> None:
    """Reading goes on, so that all faults are told in one go."""
    reader = Reader({"MAX_ACTIVE": "x"})
    read(reader, {}, executor=LOCAL)
    assert [fault.split()[0] for fault in reader.faults] == ["REDIS_URL", "MAX_ACTIVE"]


def test_faults_of_what_is_passed_on_to_runs_are_told_before_anything_starts() -> None:
    """On a cluster too, where the runs' secrets come by another way and are no fault here."""
    faulty = {"MAX_RETRIES": "zero", "DB_TABLE": "a;b", "WEBHOOK_URL": "ftp://x", "MAX_ACTIVE": "x"}
    with pytest.raises(BadSettings) as refusal:
        settings_from({"REDIS_URL": "redis://host", "JOB_IMAGE": "job:1", **faulty})
    assert {fault.split()[0] for fault in refusal.value.faults} == set(faulty)
    good = {"WEBHOOK_URL": "https://backend.example/hook", "MAX_RETRIES": "2"}
    settings_from({"REDIS_URL": "redis://host", "JOB_IMAGE": "job:1", **good})
