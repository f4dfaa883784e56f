"""`course-runner local`: the whole system on one machine, the embedded default.

Goes in: the environment and a state folder. It starts the embedded server unless REDIS_URL names
one, and dispatches on the local executor. One process per state folder, held by a lock.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from contract.errors import Misconfigured
from dispatcher.embedded import EmbeddedServer
from dispatcher.service import serve, settings_from
from dispatcher.settings import LOCAL


def run(state: Path, values: Mapping[str, str]) -> None:
    """Dispatch until told to stop."""
    with ExitStack() as stack:
        stack.enter_context(_only_one(state))
        known = {"HEALTH_PORT": "0", **values, "EXECUTOR": LOCAL}
        if not known.get("REDIS_URL"):
            settings_from({**known, "REDIS_URL": "redis://not-started"}, executor=LOCAL)
            server = stack.enter_context(EmbeddedServer(state))
            known["REDIS_URL"] = server.url.reveal()
            print(f"The queue is in {state}/redis.url; push orders with `course-runner enqueue`.")
        known.setdefault("PROGRESS_REDIS_URL", known["REDIS_URL"])
        serve(settings_from(known, executor=LOCAL))


@contextmanager
def _only_one(state: Path) -> Iterator[None]:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise Misconfigured(
                f"Another `course-runner local` is using {state}.",
                advice="Stop that one, or give this one another --state.",
            ) from exc
        yield
