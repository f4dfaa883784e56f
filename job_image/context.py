"""What every step is handed: the order, its folder, the settings, the ways to speak and stop."""

from __future__ import annotations

from dataclasses import dataclass

from contract.job_settings import JobSettings
from contract.log import Log, Redactor
from contract.task import Task
from job_image.progress import Progress
from job_image.sandbox import Sandbox
from job_image.stop import Stop


@dataclass(frozen=True, slots=True)
class Context:
    """One run's surroundings. Built once in `__main__`, never changed."""

    task: Task
    sandbox: Sandbox
    settings: JobSettings
    log: Log
    progress: Progress
    stop: Stop
    redact: Redactor
