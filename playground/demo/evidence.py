"""What is left when all is over, gathered once, for the checks and the summary.

In: the portal, the receiver, the folders. Out: one frozen value. Only things themselves: bytes on
the remote, rows, requests as the portal and the receiver saw them.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from playground.content import sha256
from playground.demo import tally
from playground.demo.backend import statuses
from playground.demo.folder import Folder
from playground.demo.kill import Kill, content_of, digest, files
from playground.demo.orders import ORDERS, Order
from playground.demo.tally import Tally
from playground.portal import Portal
from playground.portal.ledger import Visit
from playground.receiver import Receiver
from playground.receiver.receiver import Delivery

BEST = "720.mp4"
SLUGS = {order.key: order.slug for order in ORDERS}
_LEFT_OUT = ("captions", "img", "hls")
"""Parts of a course that arrive in another form: subtitles as SubRip, pictures inside articles."""


@dataclass(frozen=True, slots=True)
class Course:
    """One course on the remote."""

    folder: Path | None
    """None when no webhook named it."""
    files: int
    size: int
    """Bytes."""
    expected: int
    """Files of the portal that must be there byte for byte."""
    missing: tuple[str, ...]
    """Those of them that are not."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it. Keys of the mappings are task ids as text, or the ledger's names of files."""

    kill: Kill
    visits: tuple[Visit, ...]
    tallies: dict[str, Tally]
    deliveries: dict[str, list[Delivery]]
    courses: dict[str, Course]
    rows: dict[int, str]
    attempts: dict[str, int]
    """Runs that each order took."""
    noticed: float
    """Seconds from the kill to the dispatcher's verdict."""
    credentials_at_cdn: int
    sandboxes: tuple[str, ...]
    """Task folders that are still there."""
    leaks: tuple[str, ...]
    """Files in which one of the secrets stands."""
    exit_code: int
    """Of `course-runner local`."""
    left: dict[int, str]
    """Processes that still ran."""

    @property
    def after(self) -> list[Visit]:
        """Requests for files of the killed order that its next run made."""
        return [v for v in self.visits if v.started > self.kill.at and v.target in self._of_victim]

    @property
    def _of_victim(self) -> set[str]:
        return {*self.kill.finished, *self.kill.opened}

    @property
    def resumed(self) -> dict[str, int]:
        """For each file that was open at the kill, its bytes that the next run kept."""
        opened = self.kill.opened
        later = tally.by_target(visit for visit in self.after if visit.target in opened)
        return {name: self._kept(name, one) for name, one in later.items()}

    def _kept(self, name: str, later: Tally) -> int:
        """What had come before the kill, less what came again after it."""
        return self.tallies[name].distinct - later.distinct

    def fetched_later(self, delivery: Delivery) -> list[Visit]:
        """Return the requests for files of a delivery's order that came after it."""
        prefix = f"cdn:{SLUGS.get(str(delivery.json.get('task_id')), '')}/"
        later = (visit for visit in self.visits if visit.started > delivery.at)
        return [visit for visit in later if visit.target.startswith(prefix)]

    @property
    def reused(self) -> int:
        """Bytes that the next run took from the disk instead of the portal."""
        return sum(self.kill.finished.values()) + sum(self.resumed.values())


def deliveries(receiver: Receiver) -> dict[str, list[Delivery]]:
    """Return what the receiver got, by task."""
    found: dict[str, list[Delivery]] = {order.key: [] for order in ORDERS}
    for each in receiver.deliveries:
        found.setdefault(str(each.json.get("task_id")), []).append(each)
    return found


def course(portal: Portal, folder: Folder, order: Order, sent: list[Delivery]) -> Course:
    """Compare what arrived of a course with what the portal offers."""
    wanted = _wanted(portal, order.slug)
    if not sent:
        return Course(None, 0, 0, len(wanted), tuple(wanted))
    place = folder.courses / Path(str(sent[-1].json["folder_name"])).name
    arrived = list(files(place))
    there = Counter(digest(path) for path in arrived)
    missing = []
    for key in wanted:
        name = sha256(content_of(portal, key))
        if there[name] == 0:
            missing.append(key)
        there[name] -= 1
    size = sum(path.stat().st_size for path in arrived)
    return Course(place, len(arrived), size, len(wanted), tuple(missing))


def _wanted(portal: Portal, slug: str) -> list[str]:
    """Return the keys of all files that must arrive as they are: the best quality of each video,
    every document and attachment.
    """
    found = []
    for key in portal.catalogue.objects:
        course_slug, _, *rest = key.split("/")
        other = rest[0] in _LEFT_OUT or (rest[0].endswith(".mp4") and rest[0] != BEST)
        if course_slug == slug and not other:
            found.append(key)
    return found


def leaks(folder: Folder, secrets: list[str]) -> tuple[str, ...]:
    """Return the logs and manifests in which a secret stands."""
    found = []
    for path in sorted(folder.logs.iterdir()):
        text = path.read_text(encoding="utf-8", errors="replace")
        if any(secret in text for secret in secrets):
            found.append(path.name)
    return tuple(found)


def rows(folder: Folder) -> dict[int, str]:
    """Return the rows of the orders."""
    return statuses(folder.rows)


def write_webhooks(folder: Folder, receiver: Receiver) -> None:
    """Keep what the receiver got where a person can read it."""
    lines = [json.dumps(each.as_json(), ensure_ascii=False) for each in receiver.deliveries]
    folder.webhooks.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
