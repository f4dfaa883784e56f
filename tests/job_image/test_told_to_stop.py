"""A step that cannot be stopped does not keep the program from ending in time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from contract.outcome import Outcome
from playground.receiver import Answer, Receiver

DOWNLOADER = (
    "import pathlib, sys; folder = pathlib.Path(sys.argv[2]); "
    "folder.mkdir(exist_ok=True); (folder / 'a').write_text('x')"
)


def test_a_hanging_webhook_ends_within_ten_seconds_of_sigterm(tmp_path: Path, rclone: str) -> None:
    """The receiver never answers; SIGTERM still ends the run with 143 and last words, in time."""
    with Receiver(secret="a-long-secret") as receiver:
        receiver.answer_with(Answer(hang=120))
        words = tmp_path / "words"
        environment = {
            "PATH": f"{Path(rclone).parent}:{os.environ['PATH']}",
            "TASK": '{"taskId":5,"courseUrl":"https://portal.invalid/course/stubborn/"}',
            "SANDBOX": str(tmp_path / "sandbox"),
            "DOWNLOAD_COMMAND": f'{sys.executable} -c "{DOWNLOADER}" {{url}} {{dir}}',
            "RCLONE_REMOTE": str(tmp_path / "remote"),
            "WEBHOOK_URL": receiver.url,
            "API_SECRET_KEY": "a-long-secret",
            "TERMINATION_LOG": str(words),
        }
        log = tmp_path / "log"
        with log.open("wb") as out:
            run = subprocess.Popen([sys.executable, "-m", "job_image"], env=environment, stdout=out)
        receiver.wait(1, timeout=60)
        asked = time.monotonic()
        run.send_signal(signal.SIGTERM)
        code = run.wait(30)
        took = time.monotonic() - asked

    assert code == 143
    assert took < 10
    outcome = Outcome.parse(words.read_text())
    assert outcome is not None
    assert outcome.category == "stopped"
