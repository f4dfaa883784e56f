"""The manifests tried out at start: the server judges them, nothing is made.

Settings that the cluster refuses would otherwise be found out by the first order, and send it and
all that follow to the dead list. Missing rights, a missing namespace and warnings show here too.
"""

from __future__ import annotations

from collections.abc import Mapping

from contract.errors import Misconfigured
from contract.handoff import Assignment
from contract.log import Log
from contract.task import Task
from dispatcher.executors import QuotaExceeded, Refused
from dispatcher.executors.kubernetes import manifests
from dispatcher.executors.kubernetes.answers import Conflict
from dispatcher.executors.kubernetes.objects import Objects
from dispatcher.executors.kubernetes.settings import KubernetesSettings

TASK = Task("rehearsal", "https://course-runner.invalid/course/rehearsal/")
_DRY = {"dryRun": "All", "fieldValidation": "Strict"}


def rehearse(
    objects: Objects, settings: KubernetesSettings, environment: Mapping[str, str], log: Log
) -> None:
    """Have the server judge a claim and a Job. Raise `Misconfigured` with its words."""
    claim = manifests.claim(TASK, settings)
    job = manifests.job(Assignment(TASK, 1), settings, environment)
    for path, body in ((objects.claims, claim), (objects.jobs, job)):
        try:
            objects.client.create(path, body, _DRY)
        except (Conflict, QuotaExceeded):
            continue
        except Refused as exc:
            _heed(exc, log)


def _heed(error: Refused, log: Log) -> None:
    if "does not support dry run" in error.summary:
        log.event("CHECK", "The settings cannot be tried out: %s", error.summary)
        return
    advice = "Mend the setting that the server's words speak of."
    raise Misconfigured(error.summary, advice=advice) from error
