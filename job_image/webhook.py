"""Announces an event to the user's backend and knows whether it arrived.

In: the event. Out: nothing, once an answer of 2xx has come. The body's bytes are the same in every
try and are signed as sent; only the headers' time is new. A receiver that is away is tried again by
the schedule; one that says no is left alone, because an event refused once is refused always.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from contract import webhook as wire
from contract.errors import NotDelivered
from contract.job_settings import WebhookSettings
from contract.outcome import WEBHOOK_REFUSED, Outcome
from contract.webhook import Event
from job_image.context import Context

CONNECT_TIMEOUT = 10.0
"""Seconds to a connection; a receiver that is up answers in a fraction of one."""

WAIT_LIMIT = 300.0
"""Seconds that a receiver may make one run wait; a longer Retry-After is the dispatcher's."""

_ANSWER_BYTES = 4096
"""Bytes of an answer that are read: 500 characters in any encoding, with room."""
_ANSWER_SHOWN = 500
_PASSING = {408, 425, 429}

_REFUSED_ADVICE = (
    "Everything else is done and the volume is kept. Mend the receiver or WEBHOOK_URL, "
    "API_SECRET_KEY and WEBHOOK_SIGNING_KEY, then retry the task."
)
_AWAY_ADVICE = "Everything else is done and the volume is kept; the delivery is tried again later."


class WebhookRefused(NotDelivered):
    """The receiver said no to this event: trying again cannot help until somebody acts."""

    def outcome(self) -> Outcome:
        """Return last words that tell the dispatcher not to hammer."""
        return replace(super().outcome(), category=WEBHOOK_REFUSED, told=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one try brought. `status` 0: no answer; `text` then says why.

    `unsendable`: nothing could be sent at all, and never will be with these settings.
    """

    status: int
    text: str = ""
    retry_after: float | None = None
    unsendable: bool = False

    @property
    def delivered(self) -> bool:
        """Whether the receiver has the event."""
        return 200 <= self.status < 300

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later."""
        if self.unsendable:
            return False
        return self.status == 0 or self.status >= 500 or self.status in _PASSING

    def __str__(self) -> str:
        head = f"answered {self.status}" if self.status else "no answer"
        return f"{head}: {self.text}" if self.text else head


def warn(context: Context) -> None:
    """Say at the start what is weak about the settings."""
    settings = context.settings.webhook
    log = context.log.bind(phase="announce")
    if settings.body_secret is None:
        return
    if settings.key_is_body_secret:
        log.event(
            "WEBHOOK",
            "WEBHOOK_SIGNING_KEY is not set, so API_SECRET_KEY signs and is in every body: "
            "whoever sees one body can sign others. Set a key of its own.",
            level=logging.WARNING,
        )
    if _open_road(settings.url):
        log.event(
            "WEBHOOK",
            "WEBHOOK_URL is http to another network: everybody on the way reads secret_key. "
            "Use https.",
            level=logging.WARNING,
        )


def deliver(context: Context, event: Event) -> None:
    """Deliver `event`. Raise `WebhookRefused`, or `NotDelivered` after the last try."""
    settings = context.settings.webhook
    payload = wire.body(event, settings.body_secret.reveal() if settings.body_secret else None)
    answer = Answer(0, "no try was allowed (WEBHOOK_TRIES)")
    tries = len(settings.schedule)
    context.progress.begin("announce")
    for number, wait in enumerate(settings.schedule, 1):
        context.stop.wait(max(wait, answer.retry_after or 0))
        answer = _hidden(_send(settings, event, payload), context)
        _tell(context, number, answer)
        if answer.delivered:
            return
        _give_up_early(settings, event, answer)
    raise NotDelivered(
        f"The webhook {_shown(settings.url)} did not take event {event.id} in {tries} tries; "
        f"at last: {answer}",
        advice=_AWAY_ADVICE,
        retry_after=answer.retry_after,
    )


def _give_up_early(settings: WebhookSettings, event: Event, answer: Answer) -> None:
    if not answer.passing:
        raise WebhookRefused(
            f"The webhook {_shown(settings.url)} refused event {event.id}: {answer}",
            advice=_REFUSED_ADVICE,
        )
    if (answer.retry_after or 0) > WAIT_LIMIT:
        raise NotDelivered(
            f"The webhook {_shown(settings.url)} asks to wait {answer.retry_after:g} s "
            f"with event {event.id}: {answer}",
            advice=_AWAY_ADVICE,
            retry_after=answer.retry_after,
        )


def _tell(context: Context, number: int, answer: Answer) -> None:
    log = context.log.bind(phase="announce")
    verdict = "delivered" if answer.delivered else "not delivered"
    tries = len(context.settings.webhook.schedule)
    log.event("WEBHOOK", "Try %d of %d: %s; %s.", number, tries, verdict, answer)


def _send(settings: WebhookSettings, event: Event, payload: bytes) -> Answer:
    """Try once."""
    now = int(time.time())
    headers = dict(
        wire.headers(event, payload, settings.key, now=now, signature_header=settings.header)
    )
    try:
        with requests.post(
            settings.url,
            data=payload,
            headers={**headers, "User-Agent": "course-runner"},
            timeout=(min(CONNECT_TIMEOUT, settings.timeout), settings.timeout),
            allow_redirects=False,
            stream=True,
        ) as response:
            return _read(response, time.monotonic() + settings.timeout)
    except requests.RequestException as exc:
        if isinstance(exc, ValueError):  # InvalidURL, InvalidHeader and their like
            text = f"WEBHOOK_URL or WEBHOOK_SIGNATURE_HEADER cannot be used ({type(exc).__name__})"
            return Answer(0, text, unsendable=True)
        return Answer(0, _reason(exc, settings.timeout))


def _read(response: requests.Response, deadline: float) -> Answer:
    """Read of the answer what is worth showing, for no longer than a try may take."""
    status = response.status_code
    if 200 <= status < 300:
        return Answer(status)
    if 300 <= status < 400:
        where = _shown(response.headers.get("Location", ""))
        return Answer(status, f"redirects are not followed; it points to {where or 'nowhere'}")
    text = b""
    with suppress(HTTPError, OSError):  # the status is known; the text is only for people
        while len(text) < _ANSWER_BYTES and time.monotonic() < deadline:
            piece = response.raw.read1(_ANSWER_BYTES, decode_content=True)
            if not piece:
                break
            text += piece
    shown = " ".join(text[:_ANSWER_BYTES].decode("utf-8", "replace").split())
    return Answer(status, shown, retry_after(response.headers.get("Retry-After"), time.time()))


def _hidden(answer: Answer, context: Context) -> Answer:
    """Return `answer` with its text free of secrets (some receivers repeat the request) and cut."""
    return replace(answer, text=context.redact(answer.text)[:_ANSWER_SHOWN])


def retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds of a Retry-After header, given as seconds or as a date; None if neither.

    `now` is in Unix seconds.
    """
    if not value:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None


def _reason(error: requests.RequestException, timeout: float) -> str:
    """Return why there was no answer. The library's own words hold the whole address."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"no connection within {min(CONNECT_TIMEOUT, timeout):g} s"
    if isinstance(error, requests.exceptions.Timeout):
        return f"nothing came within {timeout:g} s"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def _shown(url: str) -> str:
    """Return an address without credentials and query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}" if host else parts.path


def _open_road(url: str) -> bool:
    """Whether the address leaves the machine and its private networks unencrypted."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "http" or "." not in host.replace(":", "."):
        return False  # https, or a bare name: localhost, a Compose or Kubernetes service
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return not host.endswith((".svc", ".local", ".internal", ".localhost"))
