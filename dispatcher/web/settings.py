"""All settings as this process has them, secrets hidden."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from contract.env import Reader, Secret
from contract.handoff import PLAIN_SETTINGS, SECRET_SETTINGS
from contract.log import Redactor
from dispatcher.executors.kubernetes import settings as cluster
from dispatcher.page_settings import page_settings
from dispatcher.settings import KUBERNETES, Settings, read
from dispatcher.web.facts import SettingRow

T = TypeVar("T")

_SECRETS = (*SECRET_SETTINGS, "REDIS_URL", "OPERATOR_TOKEN")
_HELD_BACK = "set; not shown, for it may hold secrets"
_MAY_HOLD_SECRETS = ("JOB_POD", "RCLONE_FLAGS", "DOWNLOAD_COMMAND")


class Recording(Reader):
    """A reader that remembers what it has given for each name."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.found: dict[str, object] = {}

    def text(self, name: str, default: str = "") -> str:
        """Return the text, and remember it."""
        return self._note(name, super().text(name, default))

    def secret(self, name: str) -> Secret | None:
        """Return the secret, and remember that it was asked for."""
        return self._note(name, super().secret(name))

    def whole(self, name: str, default: int, *, least: int = 0, most: int = 2**31 - 1) -> int:
        """Return the number, and remember it."""
        return self._note(name, super().whole(name, default, least=least, most=most))

    def seconds(self, name: str, default: float) -> float:
        """Return the duration, and remember it."""
        return self._note(name, super().seconds(name, default))

    def schedule(self, name: str, default: tuple[float, ...]) -> tuple[float, ...]:
        """Return the durations, and remember them."""
        return self._note(name, super().schedule(name, default))

    def flag(self, name: str, default: bool = False) -> bool:
        """Return the truth value, and remember it."""
        return self._note(name, super().flag(name, default))

    def _note(self, name: str, value: T) -> T:
        self.found[name] = value
        return value


def rows(settings: Settings) -> tuple[SettingRow, ...]:
    """Return every setting with the value in force; the job's own only where they are set."""
    values = settings.environment
    reader = Recording(values)
    read(reader, values, executor=settings.executor)
    page_settings(reader)
    if settings.executor == KUBERNETES:
        cluster.read(reader)
    names = [*reader.found, *(n for n in (*PLAIN_SETTINGS, *SECRET_SETTINGS) if values.get(n))]
    hide = Redactor(known_secrets(values))
    return tuple(_row(name, reader.found, values, hide) for name in dict.fromkeys(names))


def known_secrets(values: Mapping[str, str]) -> Iterable[str]:
    """Return the secrets among the settings, for the log to cut out."""
    return (values[name] for name in _SECRETS if values.get(name))


def _row(
    name: str, found: Mapping[str, object], values: Mapping[str, str], hide: Redactor
) -> SettingRow:
    given = bool(values.get(name, "").strip())
    if name in _SECRETS or isinstance(found.get(name), Secret):
        return SettingRow(name, "set" if given else "not set", given, secret=True)
    if name in _MAY_HOLD_SECRETS and given:
        return SettingRow(name, _HELD_BACK, given, secret=True)
    value = values.get(name, "") if given else _shown(found.get(name, ""))
    return SettingRow(name, hide(value), given)


def _shown(value: object) -> str:
    """Return a default as it would be written."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(_shown(one) for one in value) or "none"
    return f"{value:g}s" if isinstance(value, float) else str(value)
