"""Renews uv.lock and takes every download address out of it.

`uv lock` writes the index's addresses into the lock. They say nothing that the hashes do not, and
differ between a mirror and the public index, so they are cut: what stays is name, version and
SHA-256 of every file. `scripts/setup` turns that into hash-checked requirements with
`uv export --frozen`, installed from whatever index the machine is set up to use.

    python scripts/lock.py [uv] [more arguments for `uv lock`, e.g. --upgrade]
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "uv.lock"


def without_addresses(text: str) -> str:
    """Return the lock's text with registries and files named relative to "index"."""
    text = re.sub(r'registry = "https?://[^"]*"', 'registry = "index"', text)
    return re.sub(r'url = "https?://[^"]*/([^"/]+)"', r'path = "\1"', text)


def main() -> None:
    """Run `uv lock` and rewrite its result."""
    uv, *arguments = sys.argv[1:] or ["uv"]
    LOCK.unlink(missing_ok=True)  # the cut lock cannot guide a new resolution
    subprocess.run([uv, "lock", *arguments], cwd=LOCK.parent, check=True)
    LOCK.write_text(without_addresses(LOCK.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
