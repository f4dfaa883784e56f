"""Why a task is where it is, in one sentence that is true. Pure.

Goes in: what Redis knows of the task and of the dispatchers. Comes out: the sentence; "" when
nothing is known of the task. All times are UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dispatcher.record import CANCELLED, Stand

_UNDER_WAY = (Stand.ACTIVE.value, Stand.REPORT.value)
_SILENT = "no dispatcher is at work; start one, or see why it does not reach Redis"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known.

    `fields`: the task's hash. `place`: its place in the queue by age, the oldest is 1; 0 when it is
    not queued. `claimed_by`: the dispatcher that has claimed it, "" if none; `silent`: that one's
    heart does not beat. `pause`, `state`: as `Requests` returns them. `dead`: number and reason of
    its dead letter.
    """

    task: str
    fields: Mapping[str, str] = field(default_factory=dict)
    place: int = 0
    queued: int = 0
    account: str | None = None
    claimed_by: str = ""
    silent: bool = False
    pause: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    dead: tuple[int, str] | None = None


def why(facts: Facts, now: float) -> str:
    """Return the sentence. `now` in Unix seconds."""
    status = facts.fields.get("status", "")
    if status not in _UNDER_WAY:
        if facts.claimed_by:
            return _claimed(facts)
        if facts.place:
            where = f"position {facts.place} of {facts.queued}"
            return f"Task {facts.task} is in the queue, {where}: {_held_up(facts, now)}."
    if status in _SENTENCES:
        return _SENTENCES[status](facts, now)
    if facts.dead:
        number, reason = facts.dead
        return (
            f"Task {facts.task} is not run: its message is dead letter {number} ({reason}); "
            f"`course-runner dead show {number}`."
        )
    return ""


def _claimed(facts: Facts) -> str:
    by = f"Task {facts.task} is claimed by dispatcher {facts.claimed_by}"
    if facts.silent:
        return f"{by}, which has gone silent: the order goes back to the queue within 90 s."
    obstacle = facts.fields.get("obstacle", "")
    return f"{by} and waits: {_bare(obstacle)}." if obstacle else f"{by} and being handed over."


def _held_up(facts: Facts, now: float) -> str:
    """Return what keeps an order or a due run from going on, without a full stop."""
    state = facts.state
    if facts.pause:
        reason = f' ("{facts.pause["why"]}")' if facts.pause.get("why") else ""
        return f"intake is paused since {_moment(facts.pause.get('at'), now)}{reason}"
    if not state:
        return _SILENT
    if state.get("trouble"):
        return f"the dispatcher is in trouble: {_bare(str(state['trouble']))}"
    return _slots(facts)


def _slots(facts: Facts) -> str:
    state = facts.state
    active, limit = state.get("active", 0), state.get("max_active", 0)
    if facts.account is not None and facts.account in state.get("full_accounts", ()):
        return f"account limit, {state.get('per_account')} runs of its account are active"
    if active >= limit:
        return f"slot limit, {active} of {limit} runs are active"
    return f"it goes when its turn comes, {active} of {limit} runs are active"


def _running(facts: Facts, now: float) -> str:
    run = f"run {facts.fields.get('attempt', '1')}"
    obstacle = facts.fields.get("obstacle", "")
    if obstacle:
        return f"Task {facts.task} has {run}, which has not started: {_bare(obstacle)}."
    percent = facts.fields.get("percent", "")
    shown = (run, facts.fields.get("phase", ""), f"{percent} %" if percent else "")
    return f"Task {facts.task} is running ({', '.join(filter(None, shown))})."


def _due(facts: Facts, now: float) -> str:
    obstacle = facts.fields.get("obstacle", "")
    held_up = _bare(obstacle) if obstacle else _of_runs(facts, now)
    return f"Task {facts.task} is due for its next run: {held_up}."


def _of_runs(facts: Facts, now: float) -> str:
    """A pause is of intake alone: what was handed over goes on."""
    without = Facts(facts.task, account=facts.account, state=facts.state)
    return _held_up(without, now)


def _waiting(facts: Facts, now: float) -> str:
    at = _number(facts.fields.get("retry_at"))
    if at is None or at <= now:
        return _due(facts, now)
    after = f'{facts.fields.get("category", "a failure")}, "{facts.fields.get("message", "")}"'
    return f"Task {facts.task} waits until {_moment(at, now)} for its next run, after {after}."


def _reporting(facts: Facts, now: float) -> str:
    what = _bare(facts.fields.get("message", "")) or "no reason is known"
    told = "a closing run is passing that on to the database and the webhook"
    at = _number(facts.fields.get("retry_at"))
    if at is not None and at > now:
        told = (
            f"that could not be passed on yet, a closing run tries it again at {_moment(at, now)}"
        )
    return f"Task {facts.task} has failed ({what}); {told}."


def _failed(facts: Facts, now: float) -> str:
    what = _bare(facts.fields.get("message", "")) or "no reason is known"
    cure = f"mend the cause, then `course-runner retry {facts.task}`"
    when = _moment(facts.fields.get("updated"), now)
    return f"Task {facts.task} has failed, {when}: {what}; {cure}."


def _ended(facts: Facts, now: float) -> str:
    how = facts.fields["status"]
    return f"Task {facts.task} was {how}, {_moment(facts.fields.get('updated'), now)}."


_SENTENCES = {
    Stand.ACTIVE.value: _running,
    Stand.START.value: _due,
    Stand.WAITING.value: _waiting,
    Stand.REPORT.value: _reporting,
    Stand.FAILED.value: _failed,
    Stand.DONE.value: _ended,
    CANCELLED: _ended,
}


def _bare(text: str) -> str:
    return text.strip().removesuffix(".")


def _moment(at: object, now: float) -> str:
    """Return a time as people say it: the day only when it is another one."""
    seconds = _number(at)
    if not seconds:
        return "a time unknown"
    then, today = datetime.fromtimestamp(seconds, UTC), datetime.fromtimestamp(now, UTC)
    return then.strftime("%H:%M UTC" if then.date() == today.date() else "%Y-%m-%d %H:%M UTC")


def _number(text: object) -> float | None:
    try:
        number = float(str(text))
    except ValueError:
        return None
    return number if 0 <= number < 1e11 else None
