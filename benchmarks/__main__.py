"""Runs benchmarks, then draws the results: what `make bench` does.

    python -m benchmarks [PROGRAM ...] [-- ARGUMENTS FOR EACH]

Without a name all are run; `python -m benchmarks download -- --cases hls far` runs one with words
of its own.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

PROGRAMS = ("download", "start", "intake", "picture")


def main(words: Sequence[str]) -> int:
    """Run one after the other; return how many failed."""
    cut = words.index("--") if "--" in words else len(words)
    names, arguments = words[:cut] or PROGRAMS, words[cut + 1 :]
    if unknown := sorted(set(names) - set(PROGRAMS)):
        print(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(PROGRAMS)}.")
        return 64
    return sum(_fails(name, arguments) for name in names)


def _fails(name: str, arguments: Sequence[str]) -> bool:
    print(f"== {name}", flush=True)
    began = time.monotonic()
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    code = subprocess.run(command, check=False).returncode
    print(f"== {name}: exit {code} after {time.monotonic() - began:.0f} s", flush=True)
    return code != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
