"""What is held, kept up to date, and what the runs need: being watched, stopped, settled.

Goes in: what the store reads, the ends that the watcher reports. Comes out: the view behind
`holdings`, and endings written down. Every step is derived from the files again, so any of them
may be cut short by a crash and is done at the next look.

Locks are taken in one order: the store's, then the view's.
"""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import replace

from dispatcher.executors import Holding, Unavailable
from dispatcher.executors.local import run as runs
from dispatcher.executors.local.run import RunRecord
from dispatcher.executors.local.store import Held, Signature, Store
from dispatcher.executors.local.watcher import Watcher


class Supervisor:
    """`grace` seconds from SIGTERM to SIGKILL, `interval` between two looks at the files."""

    def __init__(self, store: Store, grace: float, interval: float) -> None:
        self._store = store
        self._grace = grace
        self._watcher = Watcher(self._settle, self.look, interval)
        self._view: dict[str, Held] = {}
        """What is held, by the folder's name."""
        self._named: dict[str, Held] = {}
        """The same, by the name that policy uses."""
        self._signatures: dict[str, Signature] = {}
        self._mutex = threading.Lock()
        self._changed = threading.Event()
        self._stopped = threading.Event()
        self._told: set[str] = set()
        """Runs that were sent SIGTERM from here."""

    def start(self) -> None:
        """Look once, then go on looking from a thread."""
        with self._store.exclusive():  # once for all folders, not once for each
            self.look()
        self._watcher.start()

    def stop(self) -> None:
        """Stop looking; runs go on."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._changed.set()
            self._watcher.stop()

    def trouble(self) -> str:
        """Return why the view may be stale, or ""."""
        return self._watcher.trouble

    def wait(self, seconds: float) -> bool:
        """Wait until the view changed since the last call; false after `seconds` or `stop`."""
        if not self._changed.wait(seconds) or self._stopped.is_set():
            return False
        self._changed.clear()
        return True

    def holdings(self) -> dict[str, Holding]:
        """Return what policy sees, by name."""
        with self._mutex:
            return {name: held.holding for name, held in self._named.items()}

    def held(self, name: str) -> Held | None:
        """Return what was last seen under the name of `contract.names.object_name`."""
        with self._mutex:
            return self._named.get(name)

    def fresh(self, name: str) -> Held | None:
        """Return what is under `name` right now, also if another program has just made it."""
        if self.held(name) is None:
            self.look()
        known = self.held(name)
        return None if known is None else self._store.load(known.folder.root.name)

    def look(self) -> None:
        """Bring the view up to date with what any program changed."""
        present = self._store.folders()
        for name in set(self._signatures) - set(present):
            self.reload(name)
            self._signatures.pop(name, None)
        for name in present:
            unchanged = self._signatures.get(name) == self._store.signature(name)
            if unchanged and name not in self._store.troubles:
                self._tend(name)
            else:
                self.reload(name)

    def reload(self, name: str) -> None:
        """Read one folder into the view, and do what its run needs."""
        with self._store.exclusive():
            signature = self._store.signature(name)
            try:
                held = self._store.load(name)
            except Unavailable as exc:  # unreadable is not gone: what was seen last stays
                self._store.troubles[name] = exc.summary
                return
            self._signatures[name] = signature
            self._show(name, held)
            self._tend(name)

    def _show(self, name: str, held: Held | None) -> None:
        with self._mutex:
            before = self._view.pop(name, None)
            if before is not None:
                self._named.pop(before.holding.name, None)
            if held is not None:
                self._view[name] = self._named[held.holding.name] = held
        if held != before:
            self._changed.set()

    def _tend(self, name: str) -> None:
        """Do what the run in a folder needs right now, if there is one alive."""
        with self._mutex:
            held = self._view.get(name)
        run = None if held is None else held.run
        if run is None or run.ended is not None:
            return
        if run.process is None or not self._watcher.watch(name, run.process):
            self._settle(name)
        elif run.deleting is not None:
            self._press(run, time.time() - run.deleting)

    def _press(self, run: RunRecord, since: float) -> None:
        """Tell a run that is being removed to stop: once politely, then for good."""
        if run.process is None:
            return
        if run.id not in self._told:
            self._told.add(run.id)
            run.process.signal_group(signal.SIGTERM)
        if since >= self._grace:
            run.process.signal_group(signal.SIGKILL)

    def _settle(self, name: str) -> None:
        """Write down the end of a run whose process is gone; find one that is not known yet."""
        with self._store.exclusive():
            held = self._store.load(name)
            run = None if held is None else held.run
            if held is None or run is None or run.ended is not None:
                self._show(name, held)
            elif run.process is None:
                self._find(held, run)
            elif not run.process.alive() and not run.is_anothers():
                self._end(held, run)

    def _find(self, held: Held, run: RunRecord) -> None:
        """A crash came between a run's start and its record: look for it."""
        process = runs.find_process(run)
        if process is not None:
            replace(run, process=process).save(held.folder)
            self.reload(held.folder.root.name)
        elif held.folder.in_use():
            return  # it has yet to show; the next look finds it
        elif held.folder.termination.exists():
            self._end(held, run)
        else:
            held.folder.run.unlink()  # it never started, or left no trace of having done so
            self.reload(held.folder.root.name)

    def _end(self, held: Held, run: RunRecord) -> None:
        """Write the end down, then let the kernel forget the process: never the other way."""
        runs.sweep(run)
        ended, code, reason = runs.end_of(held.folder, run, time.time())
        if run.deleting is not None:
            held.folder.run.unlink()
        else:
            replace(run, ended=ended, exit=code, reason=reason).save(held.folder)
        if run.process is not None and run.is_ours():
            run.process.reap()
        self._told.discard(run.id)
        self.reload(held.folder.root.name)
