"""The fault script: which fault hits which request.

In: rules, from code or as JSON. Out: for each request the actions that apply to it. A rule counts
the requests that match it: it skips some, then acts a number of times, or always; so "the second
try of this file" can be said exactly.
"""

import inspect
import threading
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

from playground.portal import actions as a
from playground.wire import Request

ACTIONS: dict[str, type[a.Action]] = {
    "cut": a.CutBody, "stall": a.StallBody, "delay": a.Delay, "drop": a.Drop, "rate": a.Rate,
    "status": a.Status, "challenge": a.Challenge, "html": a.Html, "expired": a.Expired,
    "ignore-range": a.IgnoreRange, "ignore-if-range": a.IgnoreIfRange,
    "wrong-content-range": a.WrongContentRange, "range-with-200": a.RangeWith200,
    "unsatisfiable": a.Unsatisfiable, "weak-etag": a.WeakEtag, "no-etag": a.NoEtag,
    "replace": a.ReplaceObject, "resize": a.ResizeObject, "gzip": a.Gzip, "chunked": a.Chunked,
    "unframed": a.Unframed, "redirect": a.Redirect, "json": a.Json, "endless-next": a.EndlessNext,
    "garbage": a.Garbage,
}  # fmt: skip
NAMES = {kind: name for name, kind in ACTIONS.items()}
OF_THE_RULE = ("skip", "times", "ranged")


class FaultError(ValueError):
    """A fault that cannot be understood; the text names the part and the cure."""


@dataclass(frozen=True)
class Rule:
    """One line of a fault script."""

    on: str
    """Target with wildcards: `cdn:test-course/001/720.mp4`, `cdn:*`, `api:curriculum/*`."""
    action: a.Action
    skip: int = 0
    """Matching requests that pass unharmed first."""
    times: int | None = 1
    """Requests it then acts on; None = all."""
    ranged: bool | None = None
    """True: only requests with a Range header count as matching; False: only those without."""

    def matches(self, target: str, request: Request) -> bool:
        """Whether a request counts for this rule."""
        wanted = self.ranged is None or self.ranged == ("range" in request.headers)
        return wanted and fnmatchcase(target, self.on)

    def acts_on(self, nth: int) -> bool:
        """Whether it acts on the nth matching request, from 0 on."""
        return nth >= self.skip and (self.times is None or nth < self.skip + self.times)


class Faults:
    """The rules in force, and how often each was met."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._met: list[int] = []

    def add(
        self,
        on: str,
        action: a.Action,
        *,
        skip: int = 0,
        times: int | None = 1,
        ranged: bool | None = None,
    ) -> None:
        """Put a rule at the end of the script."""
        self.put(Rule(on, action, skip, times, ranged))

    def put(self, rule: Rule) -> None:
        """Put a ready rule at the end of the script."""
        with self._lock:
            self._rules.append(rule)
            self._met.append(0)

    def clear(self) -> None:
        """Forget all rules."""
        with self._lock:
            self._rules.clear()
            self._met.clear()

    def take(self, target: str, request: Request) -> list[a.Action]:
        """Count the request and say what is to happen to it."""
        with self._lock:
            return [
                action
                for place in range(len(self._rules))
                if (action := self._hit(place, target, request))
            ]

    def _hit(self, place: int, target: str, request: Request) -> a.Action | None:
        rule = self._rules[place]
        if not rule.matches(target, request):
            return None
        nth = self._met[place]
        self._met[place] += 1
        return rule.action if rule.acts_on(nth) else None

    def as_json(self) -> list[dict[str, Any]]:
        """The script with the number of requests each rule has met."""
        with self._lock:
            return [
                dump(rule) | {"met": met} for rule, met in zip(self._rules, self._met, strict=True)
            ]


def parse(value: Any) -> Rule:
    """A rule from `{"on": …, "do": …, …}`; FaultError names what is wrong."""
    if not isinstance(value, dict) or not isinstance(value.get("on"), str):
        raise FaultError("A fault must be an object with 'on', a target such as 'cdn:*'.")
    kind = ACTIONS.get(value.get("do", ""))
    if kind is None:
        raise FaultError(f"Fault 'do' must be one of: {', '.join(sorted(ACTIONS))}.")
    rest = {key: item for key, item in value.items() if key not in ("on", "do")}
    rule = {key: rest.pop(key) for key in OF_THE_RULE if key in rest}
    allowed = {one.name for one in fields(kind)}
    if unknown := sorted(rest.keys() - allowed):
        raise FaultError(
            f"Fault '{value['do']}' does not know {unknown}; it takes {sorted(allowed)}."
        )
    return Rule(value["on"], kind(**rest), **rule)


def dump(rule: Rule) -> dict[str, Any]:
    """A rule as plain values; parse() reads it back."""
    own = {key: getattr(rule, key) for key in OF_THE_RULE}
    return {"on": rule.on, "do": NAMES[type(rule.action)], **asdict(rule.action), **own}


TARGETS = """\
  cdn:<key>                     an object; keys are <slug>/<ref>/<file>: 720.mp4,
                                captions/en_GB.vtt, assets/0/notes.pdf, img/a.png, master.m3u8,
                                hls/<height>/index.m3u8, hls/<height>/00000.ts,
                                hls/<height>/key.bin; <ref> is the item's name or its number in
                                the course, 001 on (GET /_control/objects lists all but playlists)
  api:subscribed-courses        the account's own courses
  api:enrollments               those of its subscription
  api:curriculum/<slug>         the pages of a course's curriculum
  api:course/<slug>             a course by its name
  api:lecture/<slug>/<ref>      one lecture: fresh links
  api:assessments/<slug>/<ref>  the questions of a quiz
  api:unknown                   anything else"""
"""Every kind of target there is, for people."""

RULE = """\
a fault is a JSON object, a script a list of them; POST adds, GET shows, DELETE forgets all
  on                   which requests: a target, with * and ? if wanted
  do                   which fault, with fields of its own beside it
  skip=0               matching requests that pass unharmed first
  times=1              requests it then acts on; null = all
  ranged=null          true: only requests with a Range header match; false: only those without
rules that hit the same request act in the order of the script, for example
  [{"on": "cdn:test-course/001/720.mp4", "do": "cut", "after": 1000000, "skip": 1, "times": 2},
   {"on": "api:*", "do": "status", "code": 429, "retry_after": 1, "times": null}]"""


def describe() -> str:
    """All that a script may say, for --help: rules, targets, faults with fields and defaults."""
    return f"{RULE}\n\ntargets ('on'):\n{TARGETS}\n\nfaults ('do'):\n{_faults()}"


def _faults() -> str:
    lines = []
    for name, kind in sorted(ACTIONS.items()):
        shown = ", ".join(f"{one.name}={one.default!r}" for one in fields(kind))
        lines.append(f"  {name:20} {' '.join((inspect.getdoc(kind) or '').split())}")
        lines.append(f"  {'':20} {shown or 'no fields'}")
    return "\n".join(lines)
