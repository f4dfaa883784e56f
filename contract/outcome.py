"""How one run of the job's program ended: its exit code and its last words.

Goes in: an error or nothing. Comes out: `ExitCode` for the process, `Outcome` as JSON of at most
2 KiB for the termination message, read back by the dispatcher. Codes 64 to 78 follow sysexits.h
where it has a fitting one, and stay clear of the shell's and the kernel's own (126 to 165).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from enum import IntEnum

MESSAGE_LIMIT = 2048
"""Bytes of a termination message. Kubernetes cuts at 4096; half of it leaves room for a wrapper."""


class ExitCode(IntEnum):
    """Exit codes of `python -m job_image`; users script against them, so they never change."""

    DONE = 0
    BAD_INPUT = 64
    AUTH_EXPIRED = 65
    NOT_ENTITLED = 66
    BLOCKED = 67
    BUG = 70
    VOLUME_FULL = 73
    TEMPORARY = 75
    NOT_DELIVERED = 76
    STOPPED = 143


CATEGORIES: dict[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.BAD_INPUT: "bad_input",
    ExitCode.AUTH_EXPIRED: "auth_expired",
    ExitCode.NOT_ENTITLED: "not_entitled",
    ExitCode.BLOCKED: "blocked_by_platform",
    ExitCode.BUG: "bug",
    ExitCode.VOLUME_FULL: "volume_full",
    ExitCode.TEMPORARY: "temporary",
    ExitCode.NOT_DELIVERED: "webhook_not_delivered",
    ExitCode.STOPPED: "stopped",
}
"""The word for each exit code in logs, annotations and the failure event."""

WEBHOOK_REFUSED = "webhook_refused"
"""The other word for exit code 76: the receiver said no, and only somebody's act can help."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The last words of a run.

    `category` is a word of `CATEGORIES` (or one of the dispatcher's own for runs that died
    without a word); `summary` says what happened, where; `advice` what to do about it;
    `exit` the exit code if known; `step` the step that failed; `retry_after` seconds that the
    other side asked to wait; `told` whether the run itself set the row and sent the event.
    """

    category: str
    summary: str
    advice: str = ""
    exit: int | None = None
    step: str = ""
    retry_after: float | None = None
    told: bool = False

    def dump(self, limit: int = MESSAGE_LIMIT) -> str:
        """Return compact JSON of at most `limit` bytes, in UTF-8; long texts are cut."""
        for cut in (None, 1000, 400, 100):
            short = replace(
                self,
                summary=_cut(self.summary, cut),
                advice=_cut(self.advice, cut),
                step=_cut(self.step, 40),
                retry_after=_seconds(self.retry_after),
            )
            text = json.dumps(asdict(short), ensure_ascii=False, separators=(",", ":"))
            # File names may hold bytes of no encoding; they must not cost the last words.
            encoded = text.encode("utf-8", "replace")
            if len(encoded) <= limit:
                return encoded.decode()
        return json.dumps({"category": self.category[:100], "summary": "", "exit": self.exit})

    @classmethod
    def parse(cls, text: str) -> Outcome | None:
        """Read what `dump` wrote; None when the text is anything else (a crash prints anything)."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(data, dict) or not isinstance(data.get("category"), str):
            return None
        return cls(
            category=_text(data["category"]),
            summary=_text(data.get("summary")),
            advice=_text(data.get("advice")),
            exit=_whole(data.get("exit")),
            step=_text(data.get("step")),
            retry_after=_seconds(data.get("retry_after")),
            told=data.get("told") is True,
        )


def _cut(text: str, limit: int | None) -> str:
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"


def _text(value: object) -> str:
    """Return a text that any encoding takes; JSON may hold halves of surrogate pairs."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _whole(value: object) -> int | None:
    """Return an exit code; None for anything that is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= 255 else None


def _seconds(value: object) -> float | None:
    """Return a wait; None for what is none: nan, infinity, below 0, beyond what a float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e12 else None
