"""The upload step alone, as a process that can be told to stop (`python -m` with this module)."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from contract.errors import CourseRunnerError
from job_image.upload import upload
from tests.job_image.deliver.run import Run


def main(folder: str) -> int:
    """Upload `folder` as the environment says; return the exit code."""
    run = Run(Path(os.environ["SANDBOX"]), dict(os.environ), out=sys.stdout)  # type: ignore[arg-type]
    signal.signal(signal.SIGTERM, lambda *_: run.stop.request())
    try:
        upload(run.context(), folder)
    except CourseRunnerError as exc:
        sys.stdout.write(f"{exc.summary}\n")
        return int(exc.code)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
