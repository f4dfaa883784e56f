"""The audit, made again and again inside the dispatcher and once by `course-runner doctor`.

Goes in: Redis and the executor. Comes out: a verdict, kept in Redis and logged when it changes, and
two repairs: a board that is behind is written again, and a dispatcher that Redis forgot is listed
again. Nothing is read at one instant, so only what two looks have found is believed.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from contract.errors import BadMessage
from contract.log import Log
from contract.task import Task
from dispatcher.audit import BEHIND, UNLISTED, Audit, Finding, Snapshot, audit, expected
from dispatcher.board import remembered
from dispatcher.settings import Limits
from dispatcher.store import Store
from dispatcher.views import View

KEPT = 100
"""Findings of one audit that are kept; a thousand of a kind say no more."""


@dataclass(frozen=True, slots=True)
class Audited:
    """An audit in numbers: when (Unix seconds), orders in each place, findings of each kind."""

    at: float
    counts: Mapping[str, int]
    found: Mapping[str, int]


def look(store: Store, views: Callable[[], Sequence[View]], max_active: int) -> Audit:
    """Take a snapshot and audit it: Redis first, for what it speaks of must be there later too."""
    claimed = {name: list(_ids(items)) for name, items in store.claims().items()}
    board = {key: fields.get("status", "") for key, fields in store.tasks()}
    snapshot = Snapshot(
        queued=set(_ids(store.queued())),
        claimed=claimed,
        alive=store.alive(),
        listed=store.listed(),
        board=board,
        views=views(),
        dead=store.dead_count(),
        max_active=max_active,
    )
    return audit(snapshot)


def confirmed(first: Audit, second: Audit) -> Audit:
    """Return the second audit with only what the first has found too."""
    known = {(finding.kind, finding.about) for finding in first.findings}
    kept = [finding for finding in second.findings if (finding.kind, finding.about) in known]
    return Audit(second.counts, tuple(kept))


class Auditor:
    """Audits from inside the loop."""

    def __init__(
        self,
        store: Store,
        limits: Limits,
        log: Log,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._limits = limits
        self._log = log
        self._clock = clock
        self._suspected = Audit({})
        self._told: set[Finding] = set()
        self.last: Audited | None = None
        """The last audit that nothing more is to confirm."""

    def audit(self, views: Callable[[], Sequence[View]]) -> bool:
        """Audit once; false when something was found that another look has yet to confirm."""
        found = look(self._store, views, self._limits.max_active)
        sure = confirmed(self._suspected, found)
        self._suspected = found
        if sure.findings or not found.findings:
            self._tell(sure)
            self._mend(sure.findings, views())
        return len(sure.findings) == len(found.findings)

    def _tell(self, sure: Audit) -> None:
        kept = Audit(sure.counts, sure.findings[:KEPT])
        self.last = Audited(self._clock(), sure.counts, Counter(f.kind for f in sure.findings))
        verdict = {"at": self.last.at, "found": len(sure.findings), **kept.dump()}
        self._store.say_audit(verdict)
        for finding in kept.findings:
            if finding not in self._told:
                message = "Audit: %s %s"
                level = logging.WARNING
                self._log.event("CHECK", message, finding.what, finding.follows, level=level)
        if self._told and not sure.findings:
            self._log.event("CHECK", "Audit: every order is in its place again.")
        self._told = set(kept.findings)

    def _mend(self, findings: Iterable[Finding], views: Iterable[View]) -> None:
        by_key = {v.record.task.key: v for v in views if v.record and v.record.task}
        for finding in findings:
            if finding.kind == UNLISTED:
                self._store.register(finding.about)
            elif finding.kind == BEHIND and finding.about in by_key:
                self._write(finding.about, by_key[finding.about])

    def _write(self, key: str, view: View) -> None:
        if expected(view):  # else it has moved on
            fields, ended = remembered(view)
            self._store.write(key, fields, forget_in=self._limits.remember if ended else 0)


def _ids(messages: Iterable[bytes]) -> Iterable[str]:
    for raw in messages:
        try:
            yield Task.parse(raw).key
        except BadMessage:
            continue  # no order: it will be a dead letter
