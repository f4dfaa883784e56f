"""A dispatcher in a process of its own whose runs do what the order's field "script" says.

It is the product's: settings, store, executor and loop. Only the job's program is another, so that
a run takes no longer than its container needs to begin, and no remote, webhook or row is needed;
with DISPATCH_PROGRAM=product it is the product's too.
"""

from __future__ import annotations

import os
import signal
from dataclasses import replace

from contract.env import Reader
from contract.errors import Retryable
from dispatcher import service
from dispatcher.executors.kubernetes import settings as kubernetes
from dispatcher.executors.kubernetes.executor import KubernetesExecutor
from dispatcher.loop import Loop, Pace
from dispatcher.store import Store, connect
from tests.dispatcher.executors.bench import PROGRAM_TEXT

PACE = Pace(block=0.2, beat=1.0, adopt=1.0, reap=0.2)


def main() -> None:
    """Dispatch until told to stop."""
    settings = service.settings_from(os.environ)
    log = service.log_from(settings)
    store = Store(connect(settings.redis_url), settings.queue, settings.identity)
    chosen = kubernetes.read(Reader(os.environ))
    if os.environ.get("DISPATCH_PROGRAM") != "product":
        chosen = replace(chosen, command=("python3", "-c", PROGRAM_TEXT))
    executor = KubernetesExecutor(chosen, os.environ, log=log)
    loop = Loop(store, executor, settings.limits, log, pace=PACE)
    signal.signal(signal.SIGTERM, lambda *_: loop.stop())
    while not loop.stopping:
        try:
            executor.start()
            break
        except Retryable as exc:
            log.event("ERROR", "%s Trying again.", exc.summary)
            loop.rest(0.5)
    loop.run()
    executor.close()


main()
