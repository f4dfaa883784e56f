"""Which access token speaks for an order: the account's own, or the default one.

Goes in: the settings and the order's email. Comes out: a `Secret`, or `Misconfigured` that names
the accounts that are known, masked. The file is YAML: account email -> token, and `default`.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from contract.env import Secret
from contract.errors import Misconfigured
from contract.job_settings import PlatformSettings

DEFAULT = "default"

_FIRST_WORD = re.compile(r"bearer(\s+|$)", re.IGNORECASE)


def choose(settings: PlatformSettings, email: str | None) -> Secret:
    """Return the token for `email`: its own, else the file's default, else PLATFORM_TOKEN."""
    known = _read(settings.tokens_file) if settings.tokens_file else {}
    wanted = (email or "").strip().casefold()
    token = known.get(wanted) or known.get(DEFAULT)
    if token:
        return _usable(token, f"PLATFORM_TOKENS_FILE={settings.tokens_file}")
    if settings.token is not None:
        return _usable(settings.token.reveal(), "PLATFORM_TOKEN")
    names = ", ".join(sorted(map(mask, known))) or "none"
    raise Misconfigured(
        f"There is no access token for {mask(wanted) if wanted else 'an order without email'}; "
        f"known accounts: {names}.",
        advice="Add the account to PLATFORM_TOKENS_FILE, or a line `default: <token>`.",
    )


def _usable(token: str, place: str) -> Secret:
    """Return the token as a header can carry it; people paste it with its header's first word."""
    plain = _FIRST_WORD.sub("", token.strip())
    if not plain or not plain.isascii() or not plain.isprintable() or " " in plain:
        raise Misconfigured(
            f"The access token in {place} holds characters that no token has.",
            advice="Copy it again, without line breaks or quotes.",
        )
    return Secret(plain)


def mask(email: str) -> str:
    """Return an email address that its owner recognises and nobody else."""
    name, at, host = email.partition("@")
    return f"{name[:1]}***{at}{host}"


def _read(path: Path) -> dict[str, str]:
    yaml = import_module("yaml")  # late: most runs have one account, and YAML costs start-up time
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise _bad(
            path, f"cannot be read ({getattr(exc, 'strerror', None) or 'no UTF-8'})"
        ) from exc
    except yaml.YAMLError:
        raise _bad(path, "is no YAML") from None  # its error would quote the line with the token
    return _accounts(path, data)


def _accounts(path: Path, data: Any) -> dict[str, str]:
    if not isinstance(data, dict) or not all(
        isinstance(name, str) and isinstance(token, str) for name, token in data.items()
    ):
        raise _bad(path, "does not map account emails to tokens, each a text")
    return {name.strip().casefold(): token.strip() for name, token in data.items()}


def _bad(path: Path, what: str) -> Misconfigured:
    return Misconfigured(
        f"PLATFORM_TOKENS_FILE={path} {what}.",
        advice="It must be YAML with lines such as `user@example.com: <token>`.",
    )
