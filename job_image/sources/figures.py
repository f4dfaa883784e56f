"""Figures for people: sizes in log lines and messages. Pure."""

from __future__ import annotations

_UNITS = ("KiB", "MiB", "GiB", "TiB")


def size(count: float) -> str:
    """Return a number of bytes as people read it: `812 bytes`, `34.5 MiB`."""
    if count < 1024:
        return f"{count:.0f} bytes"
    for unit in _UNITS:
        count /= 1024
        if count < 1023.95 or unit == _UNITS[-1]:
            break
    return f"{count:.1f} {unit}"
