"""`python -m playground.trial`: a small order, through everything that an installation is made of.

In: the environment of a dispatcher, and POD_IP, where runs reach this process. Out: exit code 0 if
a sample course was fetched, uploaded, announced and let go of, else 1 with the reason. A portal and
a webhook receiver are served from here, and a dispatcher with a queue and an instance of its own is
started beside them, so that the Redis, the rights, the policies, the storage class and the images
of the installation are tried, and nobody's course platform, remote, database or backend is.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from playground.media import outline
from playground.portal import Place, Portal
from playground.portal.course_file import parse
from playground.receiver import Receiver

COURSE = "short-course"
PORTS = (8080, 8081, 8082)
"""Of the portal, its CDN and the receiver; the chart's network policies name them."""

LOOK = 1.0
"""Seconds between two looks."""

STOP = 30.0
"""Seconds that the dispatcher may take to stop."""


class TrialError(Exception):
    """The order did not get through; the text says how far it came."""


def main() -> int:
    """Try the installation out; return the exit code."""
    settings = os.environ
    host, token = _url_host(settings["POD_IP"]), settings["PLATFORM_TOKEN"]
    plan = parse(outline.course_file(outline.computed), Path())
    portal = Portal(plan.courses, {token: ("*",)}, place=Place("0.0.0.0", *PORTS[:2]))
    key = settings["WEBHOOK_SIGNING_KEY"]
    receiver = Receiver(
        secret=settings["API_SECRET_KEY"], signing_key=key, host="0.0.0.0", port=PORTS[2]
    )
    dispatcher = subprocess.Popen([sys.executable, "-m", "dispatcher"])
    try:
        with portal, receiver:
            _order(f"http://{host}:{PORTS[0]}/course/{COURSE}/", portal, receiver)
    except TrialError as error:
        print(f"trial: FAILED: {error}", file=sys.stderr)
        return 1
    finally:
        _stop(dispatcher)
    print("trial: passed")
    return 0


def _order(address: str, portal: Portal, receiver: Receiver) -> None:
    """Push an order and follow it to its end."""
    task = f"trial-{int(time.time())}"
    end = time.monotonic() + float(os.environ.get("TRIAL_TIMEOUT", "240"))
    print(_ask("enqueue", task, address), flush=True)
    _until(lambda: _status(task) == "completed", f"task {task} is completed", end, task)
    _check(_ask("logs", task), receiver, portal)
    _until(lambda: not _held(task), "volume and Job are removed", end, task)


def _check(log: str, receiver: Receiver, portal: Portal) -> None:
    genuine = [one for one in receiver.deliveries if one.genuine]
    if len(genuine) != 1:
        raise TrialError(f"{len(genuine)} genuine webhooks came; one was to come.\n{log}")
    if portal.ledger.credentials_at_cdn:
        raise TrialError("the account's token was sent to the CDN.")
    if "Progress cannot be shown" in log:
        raise TrialError(f"the run could not show its progress in Redis.\n{log}")


def _until(done: Callable[[], bool], what: str, end: float, task: str) -> None:
    while not done():
        if time.monotonic() > end:
            state = f"{_ask('show', task)}\n{_ask('logs', task)}"
            raise TrialError(f"it did not come to this in time: {what}.\n{state}")
        time.sleep(LOOK)


def _status(task: str) -> str:
    """Return where the task stands; a failure for good ends the wait."""
    try:
        known = json.loads(_ask("show", task, "--json"))
    except ValueError:
        return ""
    status = str(known.get("status", ""))
    if status in ("failed", "cancelled"):
        raise TrialError(f"the task has {status}: {known.get('message')}\n{_ask('logs', task)}")
    return status


def _held(task: str) -> bool:
    """Whether the cluster still holds anything of the task; the command says so by its code."""
    return _run("logs", task).returncode == 0


def _ask(*words: str) -> str:
    ended = _run(*words)
    return (ended.stdout or ended.stderr).strip()


def _run(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "dispatcher.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _stop(dispatcher: "subprocess.Popen[bytes]") -> None:
    dispatcher.terminate()
    try:
        dispatcher.wait(STOP)
    except subprocess.TimeoutExpired:
        dispatcher.kill()


def _url_host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


if __name__ == "__main__":
    sys.exit(main())
