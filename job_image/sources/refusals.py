"""What a refusal means: status, headers and the beginning of the body to the error that fits.

Pure. The body is looked at before the status, because the platform's guard hides behind 403 and
503 alike: a page that asks for a human is for good, a tired server is not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from contract.errors import AuthExpired, BlockedByPlatform, CourseRunnerError, NotEntitled
from job_image.sources.pace import Unanswered, asked_wait

LOOK = 64 * 1024
"""Bytes of an error's body that are looked at."""

ADVICE = "Check the course's address, and that this account is enrolled in it."

_MARKS = (
    b"just a moment",
    b"challenge-platform",
    b"cf-chl",
    b"cf_chl",
    b"attention required",
    b"captcha",
)
"""What the pages of bot guards have in them, in small letters."""


class Missing(NotEntitled):
    """The platform knows nothing under that address (404)."""


def is_page(headers: Mapping[str, str]) -> bool:
    """Whether the body is a web page."""
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind in ("text/html", "application/xhtml+xml")


def is_challenge(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a guard asks for a human."""
    text = body.lower()
    return bool(headers.get("cf-mitigated")) or (
        is_page(headers) and any(mark in text for mark in _MARKS)
    )


def blocked(host: str) -> BlockedByPlatform:
    """Return the error for a guard's page."""
    return BlockedByPlatform(
        f"{host} blocks automated access: it answered with a page that asks for a human.",
        advice="This is never worked around. Try from another network, or ask the platform.",
    )


def of_api(
    status: int, headers: Mapping[str, str], body: bytes, host: str, what: str
) -> CourseRunnerError:
    """Return the error for an answer of the API that is not 2xx and not 429; `what` was asked.

    The API itself speaks JSON: a 403 with any web page comes from a guard before it.
    """
    if is_challenge(headers, body) or (status == 403 and is_page(headers)):
        return blocked(host)
    if status == 401:
        return refused_token(host, status)
    if status == 403:
        return NotEntitled(f"The account may not have {what} ({host} answered 403).", advice=ADVICE)
    if status == 404:
        return Missing(f"There is no {what} ({host} answered 404).", advice=ADVICE)
    return Unanswered(f"{host} answered {status} for {what}.", retry_after=_wait(headers))


def refused_token(host: str, status: int) -> AuthExpired:
    """Return the error for a token that is over or was never good."""
    return AuthExpired(
        f"{host} refused the access token ({status}).",
        advice="Put a fresh token of the account into PLATFORM_TOKEN or the tokens file, "
        "then retry the task.",
    )


def of_file(status: int, headers: Mapping[str, str], host: str) -> Unanswered:
    """Return the error for a file's answer that nothing special is known of."""
    return Unanswered(f"{host} answered {status}.", retry_after=_wait(headers))


def _wait(headers: Mapping[str, str]) -> float | None:
    return asked_wait(headers, time.time())
