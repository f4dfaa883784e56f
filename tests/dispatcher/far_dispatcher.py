"""A dispatcher in a process of its own: `far_dispatcher.py URL FOLDER NAME SLOTS`, until SIGTERM.

Real loop, real executor, short heartbeats: what a town has in a thread, to be stopped as a whole.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from contract.env import Secret
from contract.log import Log, Redactor, set_up
from dispatcher.executors.local import LocalExecutor
from dispatcher.loop import Loop, Pace
from dispatcher.settings import Limits
from dispatcher.store import Store, connect
from tests.dispatcher.town import PROGRAM, QUEUE

HEARTBEAT = 2.0


def main() -> None:
    """Dispatch."""
    url, folder, name, slots = sys.argv[1:]
    set_up("text", Redactor())
    executor = LocalExecutor(Path(folder) / "Staging", {}, PROGRAM, grace=2.0, interval=0.05)
    executor.start()
    store = Store(connect(Secret(url)), QUEUE, name, HEARTBEAT)
    pace = Pace(block=0.05, beat=0.3, adopt=0.5)
    loop = Loop(store, executor, Limits(max_active=int(slots)), Log.for_task(), pace=pace)
    signal.signal(signal.SIGTERM, lambda *_: loop.stop())
    loop.run()
    executor.close()


main()
