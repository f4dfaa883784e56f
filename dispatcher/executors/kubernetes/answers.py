"""What an unhappy answer of the API server means. Pure.

Goes in: the status, headers and body of an answer. Comes out: an error of the project's tree with
the server's own words. The line that matters runs between what is wrong with this one object
(`Refused`: its order goes to the dead list) and what is wrong with the cluster or our rights
(`Unavailable`: every order would fail alike, so all of them wait).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from contract.errors import CourseRunnerError, Permanent, Retryable
from dispatcher.executors import QuotaExceeded, Refused, Unavailable

WORDS = 500
"""Characters of an answer that is no Status (a proxy's page) worth repeating."""

_NO_RIGHT = re.compile(r'User "[^"]*" cannot ')
_RIGHT_ADVICE = "Give the dispatcher's service account the Role of the chart, in this namespace."
_LOGIN_ADVICE = "Look at the dispatcher's service account and its token, or log in anew."
_NAMESPACE_ADVICE = "Create the namespace, or correct NAMESPACE."


class NotFound(Permanent):
    """There is no such object (404)."""


class Conflict(Retryable):
    """An object of that name exists, or is not the one that was meant (409)."""


class Expired(Retryable):
    """The server no longer knows that version of the list (410)."""


class Throttled(Unavailable):
    """The server did nothing because it has too much to do (429)."""


class Unauthorized(Unavailable):
    """The server does not know us (401): a token that has expired, perhaps."""


def translate(status: int, headers: Mapping[str, str], body: bytes, what: str) -> CourseRunnerError:
    """Return the error for an answer with `status` of at least 300. `what` was asked for."""
    answer = _status(body)
    # Only the API server itself says what is true of an object; a proxy's page says nothing.
    spoken = answer.get("kind") == "Status"
    words = _words(answer, body)
    summary = f"The API server answered {status} to {what}: {words}"
    if status == 429 or status >= 500:
        kind = Throttled if status == 429 else Unavailable
        return kind(summary, retry_after=_retry_after(headers, answer))
    if status == 401:
        return Unauthorized(summary, advice=_LOGIN_ADVICE)
    return _refusal(status, summary, words, answer) if spoken else Unavailable(summary)


def refused_stream(event: Mapping[str, Any], what: str) -> CourseRunnerError:
    """Return the error that an ERROR event of a watch speaks of."""
    status = event.get("code")
    code = status if isinstance(status, int) else 500
    return translate(code, {}, json.dumps(dict(event)).encode(), what)


def _refusal(status: int, summary: str, words: str, answer: Mapping[str, Any]) -> CourseRunnerError:
    if status == 404:
        return _not_found(summary, answer)
    if status == 409:
        return Conflict(summary)
    if status == 410:
        return Expired(summary)
    if status == 403:
        return _forbidden(summary, words, answer)
    if status in (400, 413, 415, 422):
        return Refused(summary, advice=_refusal_advice(words))
    return Unavailable(summary)


def _not_found(summary: str, answer: Mapping[str, Any]) -> CourseRunnerError:
    if _details(answer).get("kind") == "namespaces":
        return Unavailable(summary, advice=_NAMESPACE_ADVICE)
    return NotFound(summary)


def _forbidden(summary: str, words: str, answer: Mapping[str, Any]) -> CourseRunnerError:
    if "exceeded quota" in words:
        return QuotaExceeded(summary, advice="It goes on when something ends, or raise the quota.")
    if _NO_RIGHT.search(words):
        return Unavailable(summary, advice=_RIGHT_ADVICE)
    causes = _details(answer).get("causes") or []
    if any(cause.get("reason") == "NamespaceTerminating" for cause in causes):
        return Unavailable(summary, advice=_NAMESPACE_ADVICE)
    return Refused(summary, advice=_refusal_advice(words))


def _refusal_advice(words: str) -> str:
    if "admission" in words or "PodSecurity" in words:
        return "Mend the order or the policy that refuses it, then push the order again."
    return "Mend what the server names, in the order or in the settings; then push it again."


def _status(body: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _words(answer: Mapping[str, Any], body: bytes) -> str:
    message = answer.get("message")
    if isinstance(message, str) and message:
        return message
    text = " ".join(body.decode("utf-8", "replace").split())
    return text[:WORDS] or "(no words)"


def _details(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    details = answer.get("details")
    return details if isinstance(details, dict) else {}


def _retry_after(headers: Mapping[str, str], answer: Mapping[str, Any]) -> float | None:
    """Seconds that the server asks to wait; the header's date form is not used by it."""
    said = headers.get("Retry-After", "")
    if said.isascii() and said.isdigit():
        return float(said)
    inside = _details(answer).get("retryAfterSeconds")
    return float(inside) if isinstance(inside, int) and inside > 0 else None
