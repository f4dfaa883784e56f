"""The story, in the order in which it happens.

    stage -> start -> orders -> cut -> kill -> done -> folders gone -> stop -> evidence -> summary

In: a folder and a screen. Out: whether every check held. Whatever goes wrong, all that was started
is ended: the family knows every process that descends from this one.
"""

import secrets
import shutil
import signal
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contract import names
from playground.demo import checks, evidence, summary, tally
from playground.demo.backend import Board, make_rows
from playground.demo.evidence import Evidence
from playground.demo.family import Family
from playground.demo.folder import DemoError, Folder, prepared
from playground.demo.kill import Kill, is_cut, is_half, kill
from playground.demo.orders import LINES, ORDERS, REFUSALS, VICTIM, Order, arm
from playground.demo.product import Product
from playground.demo.screen import Screen
from playground.demo.watch import Watch
from playground.media.build import build
from playground.portal import TOKEN, Portal
from playground.portal.course_file import load
from playground.receiver import Answer, Receiver

BEGUN = 60.0
"""Seconds until each accident must have happened."""
DONE = 120.0
"""Seconds until every order must be done."""
GONE = 60.0
"""Seconds after that until every task folder must be gone."""
SETTINGS = {
    "RCLONE_REMOTE": "library:Courses",
    "DB_TIME_COLUMN": "updated_at",
    "DOWNLOAD_CONCURRENCY": str(LINES),
    "WEBHOOK_TRIES": "0s,1s",
    "WEBHOOK_SCHEDULE": "2s,2s,2s",
    "CRASH_SCHEDULE": "2s,2s,2s",
    "RETRY_WAIT": "1s",
    "KEEP_COMPLETED": "5s",
    "REAP_MIN_AGE": "0s",
}
"""Hours become seconds, so that the story fits into a minute; all else is as in real use."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The parts around the product."""

    folder: Folder
    screen: Screen
    family: Family
    portal: Portal
    receiver: Receiver
    secrets: Mapping[str, str]


def tell(folder: Folder, screen: Screen) -> bool:
    """Tell it; return whether all was checked. Raise `DemoError` when it cannot go on."""
    with prepared(folder), _staged(folder, screen) as stage:
        return _act(stage)


@contextmanager
def _staged(folder: Folder, screen: Screen) -> Iterator[Stage]:
    """Set up portal, receiver, rows and remote; end every process that is left at the end."""
    screen.say("Making three small courses with a real encoder (some seconds, kept for next time).")
    plan = load(build(folder.media))
    keys = {
        "API_SECRET_KEY": secrets.token_hex(16),
        "WEBHOOK_SIGNING_KEY": f"whsec_{b64encode(secrets.token_bytes(24)).decode()}",
    }
    family = Family()
    receiver = Receiver(secret=keys["API_SECRET_KEY"], signing_key=keys["WEBHOOK_SIGNING_KEY"])
    with Portal(plan.courses) as portal, receiver:
        arm(portal)
        receiver.answer_with(Answer(503, "The receiver is down.", times=REFUSALS))
        make_rows(folder.rows, ORDERS)
        folder.rclone_config.write_text(f"[library]\ntype = alias\nremote = {folder.remote}\n")
        try:
            yield Stage(folder, screen, family, portal, receiver, keys)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not stop this
            family.end()


def _act(stage: Stage) -> bool:
    screen = stage.screen
    screen.say("Starting `course-runner local`: own queue, child processes, folders; no cluster.")
    product = Product(stage.folder, stage.family, _settings(stage))
    board = Board(product.queue_url())
    watch = Watch(board, ORDERS, screen, stage.family)
    try:
        _order(stage, product, board)
        found = _accidents(stage, product, watch)
        _finish(stage, product, watch)
        screen.say("Stopping the dispatcher.")
        exit_code = product.stop()
    finally:
        watch.stop()
        board.close()
    return _conclude(stage, _gather(stage, watch, found, exit_code))


def _settings(stage: Stage) -> dict[str, str]:
    return {
        **SETTINGS,
        **stage.secrets,
        "PLATFORM_TOKEN": TOKEN,
        "WEBHOOK_URL": stage.receiver.url,
        "DATABASE_URL": f"sqlite:///{stage.folder.rows}",
        "RCLONE_CONFIG": str(stage.folder.rclone_config),
    }


def _order(stage: Stage, product: Product, board: Board) -> None:
    """Push one order with the command line, the others as a backend does."""
    first, *others = ORDERS
    said = product.ask("enqueue", first.message(stage.portal))
    stage.screen.say(f"$ course-runner enqueue … -> {said}")
    for order in others:
        board.push(order.message(stage.portal))
        stage.screen.say(f"LPUSH {names.DEFAULT_QUEUE} -> task {order.key}: {order.title}.")


def _accidents(stage: Stage, product: Product, watch: Watch) -> Kill:
    ledger, key = stage.portal.ledger, VICTIM.key
    watch.wait("The cut", lambda: is_cut(ledger), BEGUN, product.check)
    stage.screen.say(f"ACCIDENT 1: the portal cut the connection of task {key}'s largest file.")
    watch.wait("Half of the largest file", lambda: is_half(ledger), BEGUN, product.check)
    found = kill(stage.portal, stage.folder)
    stage.screen.say(
        f"ACCIDENT 2: process {found.pid}, the run of task {key}, was killed (SIGKILL) with "
        f"{len(found.opened)} files half fetched."
    )
    return found


def _finish(stage: Stage, product: Product, watch: Watch) -> None:
    """Wait for each order, keep its log, then wait for the folders to go."""
    left = list(ORDERS)

    def all_done() -> bool:
        for order in [one for one in left if watch.last(one.key).status == "completed"]:
            left.remove(order)
            _keep_log(stage.folder, order)
        return not left

    watch.wait("The end of all orders", all_done, DONE, product.check)
    stage.screen.say(
        "All orders are done. Task folders go by themselves after KEEP_COMPLETED (5 s)."
    )
    staging = stage.folder.staging
    watch.wait("The removal of the task folders", lambda: not _held(staging), GONE, product.check)


def _held(staging: Path) -> list[str]:
    return sorted(path.name for path in staging.iterdir() if path.name.startswith("Task_"))


def _keep_log(folder: Folder, order: Order) -> None:
    """Copy what a task's folder knows of it: the folder goes soon."""
    state = folder.sandbox(order.key) / names.STATE_DIR
    for name, target in ((names.LOG_FILE, "log"), (names.MANIFEST_FILE, "manifest.json")):
        try:
            shutil.copyfile(state / name, folder.logs / f"task-{order.key}.{target}")
        except OSError as error:
            raise DemoError(f"The {name} of task {order.key} cannot be kept: {error}") from error


def _conclude(stage: Stage, found: Evidence) -> bool:
    """Judge and tell."""
    facts = checks.judge(found)
    summary.write(found, facts, stage.folder.summary)
    stage.screen.close()
    stage.screen.show("\n".join(summary.lines(found, facts, stage.folder, stage.portal)))
    return all(fact.holds for fact in facts)


def _gather(stage: Stage, watch: Watch, found: Kill, exit_code: int) -> Evidence:
    portal, folder = stage.portal, stage.folder
    evidence.write_webhooks(folder, stage.receiver)
    sent = evidence.deliveries(stage.receiver)
    visits = portal.ledger.visits("cdn:")
    return Evidence(
        kill=found,
        visits=tuple(visits),
        tallies=tally.by_target(visits),
        deliveries=sent,
        courses={o.key: evidence.course(portal, folder, o, sent[o.key]) for o in ORDERS},
        rows=evidence.rows(folder),
        attempts={order.key: int(watch.last(order.key).attempt or 0) for order in ORDERS},
        noticed=_noticed(watch, found),
        credentials_at_cdn=len(portal.ledger.credentials_at_cdn),
        sandboxes=tuple(_held(folder.staging)),
        leaks=evidence.leaks(folder, [*stage.secrets.values(), TOKEN]),
        exit_code=exit_code,
        left=stage.family.left(),
    )


def _noticed(watch: Watch, found: Kill) -> float:
    """Return the seconds from the kill until the board said that the order waits for a new run."""
    times = [at for at, sight in watch.history(VICTIM.key) if sight.status == "waiting"]
    return min((at - found.at for at in times if at > found.at), default=float("inf"))
