"""`python -m dispatcher`: dispatches until told to stop; what `course-runner dispatch` does too."""

from __future__ import annotations

import sys

from dispatcher.cli import main

if __name__ == "__main__":
    sys.exit(main(["dispatch", *sys.argv[1:]]))
