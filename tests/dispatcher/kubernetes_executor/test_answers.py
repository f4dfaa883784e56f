"""What an unhappy answer means: the server's real words, as a 1.37.2 says them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contract.errors import CourseRunnerError
from dispatcher.executors import QuotaExceeded, Refused, Unavailable
from dispatcher.executors.kubernetes.answers import (
    Conflict,
    Expired,
    NotFound,
    Throttled,
    Unauthorized,
    translate,
)
from tests.dispatcher.kubernetes_executor.api_server import status

WHAT = "POST /apis/batch/v1/namespaces/tasks/jobs"
NO_RIGHT = (
    'jobs.batch is forbidden: User "system:serviceaccount:tasks:dispatcher" cannot create '
    'resource "jobs" in API group "batch" in the namespace "tasks"'
)
QUOTA = (
    'persistentvolumeclaims "course-999" is forbidden: exceeded quota: small, requested: '
    "persistentvolumeclaims=1, used: persistentvolumeclaims=1, limited: persistentvolumeclaims=1"
)
LIMIT = (
    'persistentvolumeclaims "course-999" is forbidden: minimum storage usage per '
    "PersistentVolumeClaim is 10Gi, but request is 1Gi"
)
POLICY = (
    "jobs.batch \"course-999\" is forbidden: ValidatingAdmissionPolicy 'no-jobs' with binding "
    "'no-jobs' denied request: Not on a Sunday."
)
ENDING_NAMESPACE = (
    'jobs.batch "course-999" is forbidden: unable to create new content in namespace tasks '
    "because it is being terminated"
)


def translated(code: int, body: dict[str, Any] | bytes, **headers: str) -> CourseRunnerError:
    """Translate an answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return translate(code, {k.replace("_", "-"): v for k, v in headers.items()}, data, WHAT)


@pytest.mark.parametrize(
    ("code", "reason", "message", "kind"),
    [
        (400, "BadRequest", "the body is no Job", Refused),
        (403, "Forbidden", LIMIT, Refused),
        (403, "Forbidden", POLICY, Refused),
        (422, "Invalid", 'Job.batch "course-999" is invalid: spec', Refused),
        (403, "Forbidden", QUOTA, QuotaExceeded),
        (403, "Forbidden", NO_RIGHT, Unavailable),
        (401, "Unauthorized", "Unauthorized", Unauthorized),
        (404, "NotFound", 'jobs.batch "course-999" not found', NotFound),
        (409, "AlreadyExists", 'jobs.batch "course-999" already exists', Conflict),
        (410, "Expired", "too old resource version", Expired),
        (429, "TooManyRequests", "please try again later", Throttled),
        (500, "InternalError", "failed calling webhook", Unavailable),
        (504, "Timeout", "the server took too long", Unavailable),
        (302, "Found", "elsewhere", Unavailable),
    ],
)
def test_each_answer_has_its_error(
    code: int, reason: str, message: str, kind: type[CourseRunnerError]
) -> None:
    """The status and the words decide; the error repeats them and says what was asked for."""
    error = translated(code, status(code, reason, message))
    assert type(error) is kind
    assert error.summary == f"The API server answered {code} to {WHAT}: {message}"


@pytest.mark.parametrize("code", [400, 403, 404, 409, 410, 422])
def test_only_the_api_server_says_what_is_true(code: int) -> None:
    """A proxy's page with the same code refuses no order and makes no object disappear."""
    error = translated(code, b"<html><h1>Access\ndenied</h1></html>")
    assert type(error) is Unavailable
    assert "<html><h1>Access denied</h1></html>" in error.summary


def test_a_missing_namespace_is_nobodys_fault_but_the_settings() -> None:
    """Orders wait when the whole namespace is missing; they are not refused one by one."""
    body = status(404, "NotFound", 'namespaces "tasks" not found', name="tasks", kind="namespaces")
    error = translated(404, body)
    assert isinstance(error, Unavailable)
    assert "NAMESPACE" in error.advice


def test_an_ending_namespace_makes_orders_wait() -> None:
    """What a terminating namespace refuses is no fault of the order."""
    causes = [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]
    error = translated(403, status(403, "Forbidden", ENDING_NAMESPACE, causes=causes))
    assert isinstance(error, Unavailable)


def test_missing_rights_are_told_with_their_cure() -> None:
    """Without the Role everything fails alike, and the advice names the Role."""
    assert "Role" in translated(403, status(403, "Forbidden", NO_RIGHT)).advice


@pytest.mark.parametrize(
    ("headers", "details", "wait"),
    [
        ({"Retry_After": "7"}, {}, 7.0),
        ({}, {"retryAfterSeconds": 3}, 3.0),
        ({"Retry_After": "7"}, {"retryAfterSeconds": 3}, 7.0),
        ({"Retry_After": "Tue, 24 Nov 2026 22:00:00 GMT"}, {}, None),
        ({}, {}, None),
    ],
)
def test_the_wait_that_is_asked_for_is_known(
    headers: dict[str, str], details: dict[str, Any], wait: float | None
) -> None:
    """Seconds come from the header, else from the Status."""
    error = translated(429, status(429, "TooManyRequests", "wait", **details), **headers)
    assert isinstance(error, Throttled)
    assert error.retry_after == wait


def test_a_long_page_is_cut() -> None:
    """What is no Status is repeated only so far that a log stays readable."""
    assert len(translated(502, b"x" * 10_000).summary) < 700
