"""The checks: each a sentence that must be true, judged on the evidence alone. Pure.

In: evidence. Out: facts. The sentences hold numbers, so that a check that has become empty (no
files, no requests) is seen; each that could be empty demands that it is not.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from playground.demo import tally
from playground.demo.evidence import Evidence
from playground.demo.orders import CUT_AT, LONG, MIB, ORDERS, REFUSALS, VICTIM
from playground.receiver.receiver import Delivery
from playground.receiver.verify import OK

LIMIT = MIB
"""Bytes of one open file that may be fetched twice after a kill."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A sentence, and whether it is true."""

    name: str
    holds: bool
    sentence: str


def judge(evidence: Evidence) -> list[Fact]:
    """Return all facts."""
    return [*_result(evidence), *_resumption(evidence), *_manners(evidence)]


def _result(e: Evidence) -> Iterator[Fact]:
    courses = [e.courses[order.key] for order in ORDERS]
    exact = sum(one.expected - len(one.missing) for one in courses)
    wanted = sum(one.expected for one in courses)
    yield Fact(
        "files",
        exact == wanted > 0,
        f"{exact} of {wanted} files of the portal lie on the remote with the same SHA-256.",
    )
    done = [task for task, status in e.rows.items() if status == "completed"]
    yield Fact(
        "rows",
        sorted(done) == sorted(order.task_id for order in ORDERS),
        f"{len(done)} of {len(ORDERS)} rows are set to completed.",
    )
    accepted = {key: [d for d in sent if d.status == 200] for key, sent in e.deliveries.items()}
    yield Fact(
        "webhooks",
        len(accepted) == len(ORDERS) and all(len(found) == 1 for found in accepted.values()),
        f"{sum(map(len, accepted.values()))} webhooks were accepted, one for each order.",
    )
    yield _genuine(e)
    yield _repeated(e)


def _genuine(e: Evidence) -> Fact:
    every = [delivery for sent in e.deliveries.values() for delivery in sent]
    good = sum(_proven(delivery) for delivery in every)
    return Fact(
        "signatures",
        good == len(every) > 0,
        f"{good} of {len(every)} deliveries carried the right secret_key in the body and valid "
        "HMAC signatures.",
    )


def _proven(delivery: Delivery) -> bool:
    """Whether each proof was looked at and held."""
    each = delivery.verdicts
    return {each.body, each.secret_key, each.signature, each.standard} == {OK}


def _repeated(e: Evidence) -> Fact:
    """What was refused was announced again, as the same event, and nothing was fetched for it."""
    refused = [d for sent in e.deliveries.values() for d in sent if d.status == 503]
    events = [
        {(d.headers.get("webhook-id"), d.body) for d in sent} for sent in e.deliveries.values()
    ]
    fetched = sum(len(e.fetched_later(d)) for d in refused)
    return Fact(
        "redelivery",
        len(refused) == REFUSALS and all(len(event) == 1 for event in events) and not fetched,
        f"{len(refused)} deliveries met a receiver that was down; the same event was sent again, "
        f"and {fetched} files were fetched again for it.",
    )


def _resumption(e: Evidence) -> Iterator[Fact]:
    first, *others = (visit for visit in e.visits if visit.target == LONG)
    starts = [tally.start_of(visit) for visit in others if visit.started < e.kill.at]
    begun = max((start for start in starts if start <= CUT_AT), default=0)
    yield Fact(
        "cut",
        first.outcome == "cut" and begun >= CUT_AT - LIMIT,
        f"After the cut at byte {CUT_AT:,} the same run went on at byte {begun:,}.",
    )
    yield Fact(
        "restart",
        e.attempts[VICTIM.key] == 2,
        f"The killed order took {e.attempts[VICTIM.key]} runs; the dispatcher saw the death "
        f"{e.noticed:.1f} s after it and began the second run by itself.",
    )
    yield _never_again(e)
    yield _open_files(e)


def _never_again(e: Evidence) -> Fact:
    again = sorted({visit.target for visit in e.after if visit.target in e.kill.finished})
    return Fact(
        "finished",
        bool(e.kill.finished) and not again,
        f"{len(e.kill.finished)} files were whole when the run was killed; "
        f"{len(again)} of them were fetched again.",
    )


def _open_files(e: Evidence) -> Fact:
    twice = max((one.twice for one in e.tallies.values()), default=0)
    resumed = [name for name, kept in e.resumed.items() if kept > 0]
    return Fact(
        "open",
        LONG in e.kill.opened and sorted(resumed) == sorted(e.kill.opened) and twice <= LIMIT,
        f"{len(e.kill.opened)} files were half fetched; {len(resumed)} of them were gone on with, "
        f"and no file had more than {twice:,} bytes fetched twice (allowed: {LIMIT:,}).",
    )


def _manners(e: Evidence) -> Iterator[Fact]:
    yield Fact(
        "token",
        e.credentials_at_cdn == 0,
        f"The access token was shown to the file servers {e.credentials_at_cdn} times.",
    )
    yield Fact(
        "secrets",
        not e.leaks,
        f"{len(e.leaks)} logs hold a secret{': ' + ', '.join(e.leaks) if e.leaks else ''}.",
    )
    yield Fact(
        "volumes",
        not e.sandboxes,
        f"{len(e.sandboxes)} task folders are left; each went when its order was done.",
    )
    yield Fact(
        "processes",
        e.exit_code == 0 and not e.left,
        f"The dispatcher ended with {e.exit_code}; {len(e.left)} processes are left"
        f"{': ' + ', '.join(e.left.values()) if e.left else ''}.",
    )
