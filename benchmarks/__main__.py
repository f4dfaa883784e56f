"""Runs every benchmark, then draws the results: what `make bench` does."""

from __future__ import annotations

import subprocess
import sys

PROGRAMS = ("download", "start", "intake", "picture")


def main() -> int:
    """Run one after the other; return how many failed."""
    failed = 0
    for name in PROGRAMS:
        print(f"== {name}", flush=True)
        failed += (
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
            != 0
        )
    return failed


if __name__ == "__main__":
    sys.exit(main())
