"""One line per record, as text or JSON, the task bound once, secrets cut out.

Text: `[2026-01-12 16:00:05] [ATTEMPT 1/3] Downloading course...`; JSON: one object with
`ts, level, task_id, attempt, phase, event, msg`. Both from the same call:

    log = Log.for_task("999")
    log.event("SANDBOX", "Using %s.", folder)

Times are UTC. Redaction happens in the formatter, the last place before the stream, so that no
caller can forget it.
"""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO
from urllib.parse import quote, quote_plus, unquote, urlsplit

LOGGER = "course-runner"

# Each of these takes time in proportion to the text, whatever the text: lines hold other people's
# words. So nothing is repeated without a limit where a match may begin at every letter.
_ADDRESS = re.compile(r"(\w[\w+.-]{0,30}://)([^\s\"'<>]*)")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s{1,5}[A-Za-z0-9._~+/=-]{6,}")
_NAMED = re.compile(
    r"(?i)((?:secret|token|password|passwd|signature|api_?key)[a-z0-9_-]{0,40}"
    r"[\"']?\s{0,5}[=:]\s{0,5})([\"'][^\"']*[\"']|[^\s,;&}\"']+)"
)
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What ends a line or steers a terminal: titles of courses may hold it."""

SHORTEST = 4
"""Letters of the shortest secret: shorter ones would blank out every line and protect nothing."""


class Redactor:
    """Cuts secrets out of texts: known values, credentials in addresses, queries, bearer tokens."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST}
        # Longest first, so that a secret that contains another is cut whole.
        self._secrets = sorted(known, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return `text` without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "****")
        text = _ADDRESS.sub(_bare, text)
        text = _BEARER.sub(r"\1 ****", text)
        return _NAMED.sub(r"\1****", text)


def _forms(secret: str) -> set[str]:
    """Return how a secret may be spelt in a message: quoted, in JSON, in an address, folded."""
    whole = {secret, *_password(secret)}
    return {
        form
        for text in whole
        for form in (
            text,
            _one_line(text),
            repr(text)[1:-1],
            json.dumps(text)[1:-1],
            json.dumps(text, ensure_ascii=False)[1:-1],
            quote(text, safe="", errors="replace"),
            quote(text, safe="/", errors="replace"),
            quote_plus(text, errors="replace"),
        )
    }


def _password(secret: str) -> set[str]:
    """Return the password of a secret that is an address: drivers speak of it alone."""
    try:
        password = urlsplit(secret).password if "://" in secret else None
    except ValueError:
        return set()
    return {password, unquote(password)} if password else set()


def _bare(address: re.Match[str]) -> str:
    """Return an address without its credentials and its query."""
    rest, asked, _ = address[2].partition("?")
    authority, slash, path = rest.partition("/")
    _, at, host = authority.rpartition("@")
    shown = address[1] + ("****@" if at else "") + host + slash + path
    return f"{shown}?****" if asked else shown


class TextFormatter(logging.Formatter):
    """`[time] [TAG] message`; a traceback follows on lines of its own."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, redacted, with line breaks of the message folded into spaces."""
        stamp = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M:%S")
        line = f"[{stamp}] [{_tag(record)}] {self._redact(_one_line(record.getMessage()))}"
        if record.exc_info:
            line += "\n" + self._redact(self.formatException(record.exc_info))
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as one line."""
        bound: Mapping[str, Any] = getattr(record, "bound", {})
        data: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "task_id": bound.get("task_id"),
            "attempt": bound.get("attempt"),
            "phase": bound.get("phase"),
            "event": _tag(record).split(" ")[0].lower(),
            "msg": self._redact(_one_line(record.getMessage())),
        }
        if record.exc_info:
            data["traceback"] = self._redact(self.formatException(record.exc_info))
        return json.dumps(data, ensure_ascii=False)


class Log(logging.LoggerAdapter[logging.Logger]):
    """A logger with fields bound: `task_id`, `attempt`, `phase`."""

    @classmethod
    def for_task(cls, task_id: int | str | None = None) -> Log:
        """Return a log whose records carry the task's id."""
        return cls(logging.getLogger(LOGGER), {"task_id": task_id})

    def bind(self, **fields: object) -> Log:
        """Return a log with more fields bound."""
        return Log(self.logger, {**(self.extra or {}), **fields})

    def event(self, tag: str, message: str, *args: object, level: int = logging.INFO) -> None:
        """Write one line under `tag`, such as SANDBOX or UPLOAD."""
        self.log(level, message, *args, extra={"tag": tag})

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        """Add the bound fields to the record (called by logging)."""
        kwargs["extra"] = {**(kwargs.get("extra") or {}), "bound": dict(self.extra or {})}
        return msg, kwargs


class Handler(logging.StreamHandler[TextIO]):
    """Writes what the stream takes.

    A volume that is full or a reader that is gone costs the line there and nothing else: logging's
    own complaint would print the arguments, secrets and all, past every formatter.
    """

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Do nothing."""


def set_up(style: str, redact: Redactor, *streams: TextIO) -> logging.Logger:
    """Send the product's log to `streams` (default: standard output) in `style` text or json.

    Calling it again replaces what was set up before.
    """
    logger = logging.getLogger(LOGGER)
    logger.handlers.clear()
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for stream in streams or (sys.stdout,):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may hold any bytes
        handler = Handler(stream)
        handler.setFormatter(JsonFormatter(redact) if style == "json" else TextFormatter(redact))
        logger.addHandler(handler)
    return logger


def _tag(record: logging.LogRecord) -> str:
    tag: str | None = getattr(record, "tag", None)
    return tag or ("ERROR" if record.levelno >= logging.ERROR else record.levelname)


def _one_line(text: str) -> str:
    return _BREAKS.sub(" ", text)
