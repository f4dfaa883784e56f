"""Settings from the environment: read once, all faults reported together, secrets hidden.

Goes in: a mapping of names to texts (the environment, overlaid by the files of `SETTINGS_DIR`,
which is how a mounted Secret supplies settings without appearing in the environment). Comes out:
values through `Reader`, whose `finish` raises `BadSettings` with every fault at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from contract.errors import BadSettings
from contract.task import is_quantity

SETTINGS_DIR = "SETTINGS_DIR"
"""Folder whose files are settings: the file's name is the setting's, its text the value."""

_UNITS = {"ms": 0.001, "s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)?", re.IGNORECASE)
LONGEST = 10 * 365 * 86400.0
"""Seconds of the longest duration, ten years: what every clock and wait can take."""

LARGEST = 2**31 - 1
"""The largest whole number, unless a setting has a limit of its own."""

_SETTING_NAME = re.compile(r"[A-Z][A-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that never shows in `repr`, `str` or a log line; `reveal()` gives it."""

    _value: str

    def reveal(self) -> str:
        """Return the text itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(****)"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)


def load(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` overlaid by the files of its `SETTINGS_DIR`. Raise `BadSettings`."""
    merged = dict(environ)
    folder = environ.get(SETTINGS_DIR)
    if folder:
        merged.update(_files(Path(folder)))
    return merged


def _files(folder: Path) -> dict[str, str]:
    try:
        files = [p for p in folder.iterdir() if _SETTING_NAME.fullmatch(p.name) and p.is_file()]
        return {p.name: p.read_text(encoding="utf-8").rstrip("\r\n") for p in files}
    except (OSError, UnicodeDecodeError) as exc:
        raise BadSettings([f"{SETTINGS_DIR}={folder} cannot be read: {exc}."]) from exc


class Reader:
    """Reads one setting after the other and remembers every fault.

    Each method returns a usable value even for a faulty setting (its default), so that reading
    goes on and `finish` can report all faults in one go.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.faults: list[str] = []

    def fault(self, name: str, need: str) -> None:
        """Remember that `name` is not what it must be. The value itself is not repeated."""
        self.faults.append(f"{name} must be {need}.")

    def finish(self) -> None:
        """Raise `BadSettings` with all faults, if there are any."""
        if self.faults:
            raise BadSettings(self.faults)

    def text(self, name: str, default: str = "") -> str:
        """Return the text; an empty setting counts as unset."""
        return self._values.get(name, "").strip() or default

    def required(self, name: str, why: str) -> str:
        """Return the text; a fault when it is unset."""
        value = self.text(name)
        if not value:
            self.faults.append(f"{name} is not set; {why}")
        return value

    def secret(self, name: str) -> Secret | None:
        """Return the text as a `Secret`, None when unset."""
        value = self._values.get(name, "")
        return Secret(value) if value.strip() else None

    def whole(self, name: str, default: int, *, least: int = 0, most: int = LARGEST) -> int:
        """Return a whole number from `least` to `most`."""
        value = self.text(name)
        if not value:
            return default
        if re.fullmatch("[0-9]{1,18}", value) and least <= int(value) <= most:
            return int(value)
        limit = "" if most == LARGEST else f" and at most {most}"
        self.fault(name, f"a whole number of at least {least}{limit}")
        return default

    def seconds(self, name: str, default: float) -> float:
        """Return a duration in seconds; "20", "20s", "10 min", "7d" are understood."""
        value = self.text(name)
        if not value:
            return default
        duration = _duration(value)
        if duration is not None:
            return duration
        self.fault(name, 'a duration such as "20s", "10min", "6h" or "7d"')
        return default

    def schedule(self, name: str, default: tuple[float, ...]) -> tuple[float, ...]:
        """Return durations in seconds, given as "5min,30min,2h"; "none" is an empty schedule."""
        value = self.text(name)
        if not value:
            return default
        if value.lower() == "none":
            return ()
        durations = [_duration(part.strip()) for part in value.split(",")]
        known = tuple(duration for duration in durations if duration is not None)
        if len(known) == len(durations):
            return known
        self.fault(name, 'durations such as "5min,30min,2h", or "none"')
        return default

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a truth value."""
        value = self.text(name).lower()
        if value in ("", "1", "true", "yes", "on", "0", "false", "no", "off"):
            return value in ("1", "true", "yes", "on") if value else default
        self.fault(name, "true or false")
        return default

    def choice(self, name: str, options: Sequence[str], default: str) -> str:
        """Return one of `options`."""
        value = self.text(name, default)
        if value in options:
            return value
        self.fault(name, "one of " + ", ".join(options))
        return default

    def quantity(self, name: str, default: str) -> str:
        """Return a storage size as Kubernetes writes it."""
        value = self.text(name, default)
        if is_quantity(value):
            return value
        self.fault(name, 'a Kubernetes quantity such as "20Gi"')
        return default

    def url(self, name: str, schemes: Sequence[str]) -> str:
        """Return an address with one of `schemes`, or "" when unset."""
        value = self.text(name)
        if not value:
            return ""
        if not _is_address(value, schemes):
            self.fault(
                name, "an address that begins with " + " or ".join(f"{s}://" for s in schemes)
            )
        return value


def _duration(text: str) -> float | None:
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _UNITS[(match[2] or "s").lower()] if match else LONGEST + 1
    return seconds if seconds <= LONGEST else None


def _is_address(text: str, schemes: Sequence[str]) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises when it is none
    except ValueError:
        return False
    if parts.scheme not in schemes or not text.lower().startswith(parts.scheme + "://"):
        return False
    return bool(parts.path.strip("/") if parts.scheme == "unix" else parts.hostname)
