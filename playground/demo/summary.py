"""The summary: for a newcomer on the screen, for programs as JSON.

In: evidence and facts. Out: text. Every number comes from the portal's ledger, the receiver, the
remote or the rows; only how many runs an order took is what the product says of itself.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from playground.demo import tally
from playground.demo.checks import Fact
from playground.demo.evidence import Evidence
from playground.demo.folder import Folder
from playground.demo.orders import LONG, ORDERS, VICTIM
from playground.portal import Portal

MB = 1_000_000


def lines(
    evidence: Evidence, facts: Sequence[Fact], folder: Folder, portal: Portal
) -> Iterator[str]:
    """Yield the lines of the summary."""
    yield from ("", "WHAT WAS DONE", *_done(evidence, folder))
    yield from ("", "WHAT WENT WRONG, AND WHAT WAS RESUMED", *_resumed(evidence, portal))
    yield from ("", "WHAT WAS CHECKED")
    yield from (f"  {'ok  ' if fact.holds else 'FAIL'} {fact.sentence}" for fact in facts)
    yield from ("", "WHERE IT ALL IS", *_places(folder), "")
    failed = [fact.name for fact in facts if not fact.holds]
    yield (
        f"FAILED: {', '.join(failed)}."
        if failed
        else "All of it was checked. Nothing is left running."
    )


def _done(e: Evidence, folder: Folder) -> Iterator[str]:
    for order in ORDERS:
        course = e.courses[order.key]
        place = folder.shown(course.folder) if course.folder else "nowhere"
        runs = e.attempts[order.key]
        yield (
            f"  task {order.key:>4}  {course.files:2} files, {_mb(course.size)} in {place}"
            f" ({runs} run{'s' if runs != 1 else ''}, row {e.rows.get(order.task_id, 'missing')})"
        )


def _resumed(e: Evidence, portal: Portal) -> Iterator[str]:
    size = portal.stored(LONG.removeprefix("cdn:")).content.size
    whole = tally.total(e.tallies)
    share = 100 * e.kill.long_at / size
    yield f"  A connection was cut in the middle of a file of {_mb(size)}; the same run went on."
    yield f"  The process of task {VICTIM.key} was killed when it had {share:.0f} % of that file."
    yield (
        f"  Its next run took {_mb(e.reused)} from its disk ({len(e.kill.finished)} whole files, "
        f"{len(e.resumed)} beginnings) and fetched the rest."
    )
    yield (
        f"  In all the portal gave {_mb(whole.fetched)} for {_mb(whole.distinct)} of files; "
        f"{whole.twice:,} bytes were fetched twice."
    )
    yield from _redelivered(e)


def _redelivered(e: Evidence) -> Iterator[str]:
    for key, sent in e.deliveries.items():
        refused = sum(delivery.status != 200 for delivery in sent)
        if refused:
            yield (
                f"  The webhook of task {key} met a receiver that was down ({refused} x 503); "
                "it was sent again, and nothing else."
            )


def _places(folder: Folder) -> Iterator[str]:
    tasks = folder.logs / "task-<id>.log"
    for what, path in (
        ("files", folder.courses),
        ("rows", folder.rows),
        ("webhooks", folder.webhooks),
        ("logs", folder.dispatcher_log),
        ("", tasks),
        ("this, as JSON", folder.summary),
    ):
        yield f"  {what:14} {folder.shown(path)}"


def write(evidence: Evidence, facts: Sequence[Fact], path: Path) -> None:
    """Write the summary for programs."""
    e, whole = evidence, tally.total(evidence.tallies)
    data = {
        "ok": all(fact.holds for fact in facts),
        "facts": {fact.name: {"holds": fact.holds, "sentence": fact.sentence} for fact in facts},
        "bytes": {"fetched": whole.fetched, "distinct": whole.distinct, "twice": whole.twice},
        "reused_after_kill": e.reused,
        "killed": {"pid": e.kill.pid, "finished": e.kill.finished, "opened": e.kill.opened},
        "kept": e.resumed,
        "attempts": e.attempts,
        "rows": e.rows,
        "left": e.left,
    }
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False), encoding="utf-8")


def _mb(count: int) -> str:
    return f"{count / MB:.1f} MB"
