"""What a failed rclone means: pure, from its exit code and its words to one of our errors.

rclone's exit code alone cannot say whether trying again helps: at start-up everything is 1, and so
is every HTTP status of a WebDAV server. So code 1 is judged by the last error's words; what nobody
recognises is a passing failure, because a repeated upload costs little and a wrong "never" loses
the course.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from contract.errors import CourseRunnerError, Misconfigured, Temporary
from contract.log import Redactor

DAY_LIMIT_WAIT = 3600.0
"""Seconds to wait after a limit per day was reached: one look an hour costs one request."""

_WORDS = 300
"""Characters of rclone's words that are repeated; some servers answer with whole web pages."""

_ECHO = re.compile(r'^Failed to create file system for "(?:[^"\\]|\\.)*": ')
"""rclone repeats the remote as it was given, passwords of a connection string included."""

_PASSING = re.compile(
    r"no such host|connection refused|connection reset|network is unreachable|no route to host"
    r"|time(d )?-?out|deadline exceeded|i/o|unexpected EOF|server misbehaving|try again"
    r"|rateLimitExceeded|Too Many Requests|SlowDown"
    r"|\b(408|423|425|429|500|502|503|504)\b",
    re.IGNORECASE,
)
_DAY_LIMIT = re.compile(r"userRateLimitExceeded|dailyLimitExceeded", re.IGNORECASE)
_FULL = re.compile(
    r"storageQuota|quotaExceeded|teamDriveFileLimitExceeded|insufficient.?(storage|space)"
    r"|no space left|disk quota exceeded|over.?quota",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"invalid_grant|unauthorized_client|invalid_client|token expired|empty token"
    r"|(error|status|code|http):? *40[13]\b|\b401 Unauthorized|\b403 Forbidden"
    r"|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|permission denied"
    r"|insufficientFilePermissions|insufficientParentPermissions|accessNotConfigured",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(
    r"didn't find section|unknown (command|flag|shorthand)|not a valid|NoSuchBucket"
    r"|didn't find backend|read-only file system",
    re.IGNORECASE,
)
_FINAL_CODES = (2, 3, 6, 7)
_PASSING_CODES = (4, 5, 8, 10)
"""4, file not found, is passing: the course was there when rclone began, so what it misses is an
object that the remote does not show yet."""

_FULL_ADVICE = (
    "Make room on the remote. A Google service account has no storage of its own: use a shared "
    "drive (team_drive) or an OAuth token."
)
_REFUSED_ADVICE = (
    "Renew rclone's token or password (`rclone config reconnect`), and see that the account may "
    "write to this folder."
)
_UNKNOWN_ADVICE = (
    "See RCLONE_REMOTE, RCLONE_FLAGS and RCLONE_CONFIG (the file that `rclone config file` names)."
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How rclone ended: exit code, last error, whether it gave up at its start, failed files."""

    code: int
    last_error: str = ""
    critical: bool = False
    names: tuple[str, ...] = ()


def failure(ended: Ended, doing: str, remote: str, redact: Redactor) -> CourseRunnerError:
    """Return the error for an end that is no success.

    `doing` says what was tried ("Uploading x"); `remote` must be free of credentials already.
    """
    which = f" ({_some(ended.names)})" if ended.names else ""
    what = words(ended.last_error, redact) or _bare(ended.code)
    summary = f"{doing} to {remote} failed{which}: {what}"
    text = ended.last_error
    if _DAY_LIMIT.search(text) and ended.code == 7:
        advice = "The remote takes no more today (Google: 750 GB a day and account)."
        return Temporary(summary, advice=advice, retry_after=DAY_LIMIT_WAIT)
    cure = _cure(ended)
    return Temporary(summary) if cure is None else Misconfigured(summary, advice=cure)


def words(text: str, redact: Redactor) -> str:
    """Return rclone's words on one line, short, without secrets and the remote's options."""
    return " ".join(redact(_ECHO.sub("", text)).split())[:_WORDS]


def _cure(ended: Ended) -> str | None:
    """Return what an operator has to do, None when trying again may help."""
    text = ended.last_error
    if ended.code in _PASSING_CODES or ended.code < 0 or ended.code > 128:
        return None
    if _FULL.search(text) and not re.search("rateLimitExceeded", text, re.IGNORECASE):
        return _FULL_ADVICE
    if ended.code in _FINAL_CODES:
        return _UNKNOWN_ADVICE
    return _cure_by_words(text, ended.critical)


def _cure_by_words(text: str, critical: bool) -> str | None:
    if _UNKNOWN.search(text):
        return _UNKNOWN_ADVICE
    if _REFUSED.search(text) and not re.search("rateLimitExceeded", text, re.IGNORECASE):
        return _REFUSED_ADVICE
    if critical and not _PASSING.search(text):
        return _UNKNOWN_ADVICE
    return None


def _bare(code: int) -> str:
    return f"rclone was ended by signal {-code}" if code < 0 else f"rclone ended with code {code}"


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


_OPTIONS = re.compile(
    r"^(:?[\w .+@-]+),(?:[^:\"']|\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*')*(:.*)$", re.DOTALL
)


def shown(remote: str) -> str:
    """Return `remote` without the options of a connection string, which may hold passwords."""
    return _OPTIONS.sub(r"\1,…\2", remote)
