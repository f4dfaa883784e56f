"""`python -m playground.demo [--output FOLDER]`: tell the story; exit code 0 if all was checked.

1: a check did not hold, 2: the demo itself could not go on, 130: interrupted.
"""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from playground.demo.folder import DemoError, Folder
from playground.demo.screen import open_screen
from playground.demo.story import tell


def main() -> int:
    """Run the demo and return its exit code."""
    chosen = _parser().parse_args()
    signal.signal(signal.SIGTERM, _interrupted)
    screen = open_screen()
    try:
        return 0 if tell(Folder(chosen.output.absolute()), screen) else 1
    except DemoError as error:
        screen.say(f"The demo cannot go on: {error}")
        return 2
    except KeyboardInterrupt:
        screen.say("Interrupted; everything that was started has been ended.")
        return 130
    finally:
        screen.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m playground.demo", description=__doc__)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo-output"),
        help="folder of all that is made; emptied first if an earlier demo made it (%(default)s)",
    )
    return parser


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
