"""Tables that a person reads: plain text, as wide as needed, nothing to install."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any


def tasks(rows: Sequence[Mapping[str, str]], now: float) -> None:
    """Print one line per task. `now` in Unix seconds, for ages."""
    if not rows:
        print("No tasks are known.")
        return
    lines = [
        (
            row["task"],
            row.get("status", ""),
            row.get("phase", ""),
            f"{row['percent']}%" if row.get("percent") else "",
            row.get("attempt", ""),
            _age(row.get("updated", ""), now),
            _short(row.get("message", "") or row.get("course", "")),
        )
        for row in rows
    ]
    _print(("TASK", "STATUS", "PHASE", "DONE", "RUN", "AGE", "MESSAGE"), lines)


def details(data: Mapping[str, str]) -> None:
    """Print one field per line."""
    width = max(len(name) for name in data)
    for name, value in data.items():
        text = moment(value) if name in ("updated", "retry_at") and value else value
        print(f"{name:<{width}}  {text}")


def dead(letters: Sequence[Mapping[str, Any]]) -> None:
    """Print the dead letters."""
    if not letters:
        print("No dead letters.")
        return
    lines = [
        (
            str(letter.get("number", "")),
            moment(str(letter.get("at", ""))),
            str(letter.get("reason", "")),
            _short(str(letter.get("message", letter.get("message_base64", "")))),
        )
        for letter in letters
    ]
    _print(("N", "AT", "REASON", "MESSAGE"), lines)


def paused(pause: Mapping[str, Any]) -> str:
    """Return one line on a pause."""
    since = moment(str(pause.get("at", "")))
    return f"Intake is paused since {since}. {pause.get('why', '')}".rstrip()


def audit(verdict: Mapping[str, Any]) -> None:
    """Print the verdict of an audit."""
    print(f"Audit of {moment(str(verdict['at']))}")
    counts = verdict["counts"]
    total = sum(counts.values())
    print(f"{total} orders = " + " + ".join(f"{n} {place}" for place, n in counts.items()))
    for finding in verdict["findings"]:
        print(f"{finding['kind'].upper()}: {finding['what']} {finding['follows']}")
    print(f"{verdict['found']} findings." if verdict["found"] else "Every order is in its place.")


def removals(rows: Sequence[Mapping[str, str]], *, dry: bool) -> None:
    """Print what was, or would be, removed."""
    if not rows:
        print("Nothing may go now.")
        return
    head = "WOULD REMOVE" if dry else "REMOVED"
    _print((head, "NAME", "BECAUSE"), [(r["what"], r["name"], r["reason"]) for r in rows])


def columns(head: Sequence[str], *lines: Sequence[str]) -> None:
    """Print rows of texts below their head."""
    _print(head, lines)


def _print(head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    widths = [max(len(line[i]) for line in (head, *lines)) for i in range(len(head))]
    for line in (head, *lines):
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())


def _short(text: str, limit: int = 70) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _age(updated: str, now: float) -> str:
    try:
        seconds = max(0, int(now - float(updated)))
    except (ValueError, OverflowError):
        return ""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def moment(text: str) -> str:
    try:
        return datetime.fromtimestamp(float(text), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return text
