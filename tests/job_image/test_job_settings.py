"""The job's settings: faults before anything starts, the webhook signed as users were told."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import pytest

from contract import handoff
from contract.errors import BadSettings
from contract.job_settings import JobSettings, read

LEAST = {"TASK": '{"taskId":1,"courseUrl":"https://host/course/x/"}', "PLATFORM_TOKEN": "t0ken"}
HOOK = {"WEBHOOK_URL": "https://backend.example/hook", "API_SECRET_KEY": "s3cret"}


def settings(**values: str) -> JobSettings:
    """Settings of a job that has what it needs."""
    return read({**LEAST, **values})


def faults(values: Mapping[str, str]) -> tuple[str, ...]:
    """The faults of what must be refused."""
    with pytest.raises(BadSettings) as caught:
        read(values)
    return caught.value.faults


def test_the_usual_settings_are_those_that_users_are_told() -> None:
    usual = settings()
    assert (usual.max_retries, usual.retry_wait) == (3, 20)
    assert usual.upload.remote == "gdrive:Courses"
    assert (usual.database.table, usual.database.id_column) == ("tasks", "id")
    assert usual.webhook.header == "X-Signature"
    assert str(usual.sandbox) == "/sandbox"
    assert not usual.webhook.failure_events


def test_all_faults_are_reported_together_and_by_name() -> None:
    faulty = {
        "MAX_RETRIES": "0",
        "RETRY_WAIT": "soon",
        "LOG_FORMAT": "xml",
        "RELEASE": "never",
        "PLATFORM_URL": "udemy",
        "DOWNLOAD_CONCURRENCY": "none",
        "DOWNLOAD_TIMEOUT": "-1",
        "RCLONE_REMOTE": "gdrive",
        "RCLONE_FLAGS": '--flag "open',
        "DB_TABLE": "tasks; drop table",
        "DB_SCHEMA": "a-b",
        "WEBHOOK_URL": "https:///hook",
        "WEBHOOK_SIGNING_KEY": "whsec_!",
        "WEBHOOK_SIGNATURE_HEADER": "X Bad:",
        "WEBHOOK_TIMEOUT": "x",
        "WEBHOOK_TRIES": "x",
        "WEBHOOK_FAILURE_EVENTS": "perhaps",
    }
    found = faults({**faulty, "TASK": "", "API_SECRET_KEY": "s3cret"})
    named = {fault.split(" ", 1)[0] for fault in found}
    assert set(faulty) | {"TASK", "PLATFORM_TOKEN"} <= named
    assert "s3cret" not in " ".join(found)


def test_an_own_downloader_needs_no_token_but_the_address_in_its_command() -> None:
    values = {"TASK": "{}", "DOWNLOAD_COMMAND": "python main.py -c {url} -o '{dir}'"}
    assert read(values).platform.command == ("python", "main.py", "-c", "{url}", "-o", "{dir}")
    assert "{url}" in faults({"TASK": "{}", "DOWNLOAD_COMMAND": "python main.py"})[0]


def test_the_key_is_the_body_s_secret_as_it_stands_unless_there_is_one_of_its_own() -> None:
    """Also one that begins like a Standard Webhooks key: it was never said to be one."""
    assert settings(**HOOK).webhook.key == b"s3cret"
    odd = {**HOOK, "API_SECRET_KEY": "whsec_YWJj"}
    assert settings(**odd).webhook.key == b"whsec_YWJj"
    own = {"WEBHOOK_SIGNING_KEY": "whsec_" + base64.b64encode(b"own key").decode()}
    assert settings(**HOOK, **own).webhook.key == b"own key"
    assert settings(**HOOK, WEBHOOK_SIGNING_KEY="plain").webhook.key == b"plain"


def test_a_webhook_without_the_secret_that_its_body_must_hold_is_a_fault() -> None:
    """The production fault: "400 missing secret_key", hours after the order."""
    url = {"WEBHOOK_URL": HOOK["WEBHOOK_URL"]}
    own = {"WEBHOOK_SIGNING_KEY": "own"}
    assert "API_SECRET_KEY" in faults({**LEAST, **url})[0]
    assert "API_SECRET_KEY" in faults({**LEAST, **url, **own})[0]
    assert "API_SECRET_KEY" in faults({**LEAST, **url, "WEBHOOK_BODY_SECRET": "false"})[0]
    hook = settings(**url, **own, WEBHOOK_BODY_SECRET="false").webhook
    assert (hook.body_secret, hook.key) == (None, b"own")


def test_it_is_known_whether_a_body_reveals_the_signing_key() -> None:
    assert settings(**HOOK).webhook.key_is_body_secret
    assert settings(**HOOK, WEBHOOK_SIGNING_KEY="s3cret").webhook.key_is_body_secret
    assert not settings(**HOOK, WEBHOOK_SIGNING_KEY="own").webhook.key_is_body_secret
    assert not settings(**HOOK, WEBHOOK_BODY_SECRET="false").webhook.key_is_body_secret


def test_a_secret_that_is_no_text_is_a_fault_that_names_it() -> None:
    """Bytes of the environment that are no UTF-8 arrive as lone surrogates."""
    assert "API_SECRET_KEY" in faults({**LEAST, **HOOK, "API_SECRET_KEY": "s\udcffcret"})[0]


def test_a_state_without_a_word_is_not_written() -> None:
    found = settings(DB_STATUS_RUNNING="-", DB_STATUS_COMPLETED="done").database
    assert (found.running, found.completed) == ("", "done")


def test_settings_never_show_what_is_secret() -> None:
    secrets = {name: f"hidden-{name}" for name in handoff.SECRET_SETTINGS}
    shown = repr(settings(**{**HOOK, **secrets}))
    assert "hidden-" not in shown
