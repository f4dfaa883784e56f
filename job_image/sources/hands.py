"""What one thread of the crew does with one job: a file, a film, a piece of one, a quiz, an image.

Goes in: a file of the plan, or a piece of a film. Comes out: the file under its name with its
record written, or further jobs, or a note why it is left out; a failure is raised. Whatever the
kind, a file gets its name only when its bytes are durable.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from contract.errors import CourseRunnerError, Stopped, Temporary
from contract.log import Log
from job_image.sandbox import Sandbox
from job_image.sources import address, captions, images, pictures, quiz, resume, texts
from job_image.sources.choice import Wishes
from job_image.sources.helper import Help, Helper
from job_image.sources.http import Means
from job_image.sources.landing import Landed, Landing
from job_image.sources.manifest import Manifest, Record, digest
from job_image.sources.part import Part
from job_image.sources.pictures import Lost
from job_image.sources.pieces import Unplayable
from job_image.sources.plan import File
from job_image.sources.playlists import Protected
from job_image.sources.ranges import Known
from job_image.sources.share import Share
from job_image.sources.sheets import Sheets
from job_image.sources.stream import Piece, Stream, folder_of
from job_image.sources.transfer import Transfer
from job_image.stop import Stop

_MADE = ".made"
"""Marks the part of a file that is made here, such as captions turned into SubRip."""

Job = File | Piece | Help


def file_of(job: Job) -> File:
    """Return the file that a job is for."""
    return job if isinstance(job, File) else job.file


class Hands:
    """Does the jobs of one course. Thread-safe."""

    def __init__(
        self,
        sandbox: Sandbox,
        means: Means,
        manifest: Manifest,
        sheets: Sheets,
        wishes: Wishes,
        log: Log,
    ) -> None:
        self._root = sandbox.root
        self._parts = resume.parts_folder(sandbox)
        self._means = means
        self._manifest = manifest
        self._sheets = sheets
        self._wishes = wishes
        self._log = log
        self._landing = Landing(manifest, self._parts)
        self._lock = threading.Lock()
        self._dropped: set[str] = set()
        self._shares: dict[str, tuple[File, Share]] = {}
        """Files under way that further lines may help."""
        self.call: Callable[[], None] = lambda: None
        """Called when there is such a file."""
        self.left: dict[File, str] = {}
        """What turned out to be not for us, and why."""
        self.lost: dict[File, str] = {}
        """Images that could not be had, and why."""

    def work(self, job: Job, stop: Stop) -> Iterable[Job]:
        """Do one job; return the jobs that it has turned out to consist of."""
        try:
            return self._job(job, stop)
        except Temporary as exc:
            file = file_of(job)
            name = file.path if isinstance(exc, Unplayable) else job.path
            self._log.event("ERROR", "%s: %s%s", name, exc.summary, self.where(file))
            raise

    def land(self) -> None:
        """Give all finished files their names. Raise when any of them could not get its own."""
        self._landing.land()

    def close(self) -> None:
        """Let go of the volume."""
        self._landing.close()

    def spare(self) -> Help | None:
        """Return a range of a file under way for an idle thread; None when nothing is to be had.

        Never waits.
        """
        with self._lock:
            shares = list(self._shares.values())
        for file, share in sorted(shares, key=_left, reverse=True):
            if (mine := share.spare()) is not None:
                return Help(file, share, mine)
        return None

    def where(self, file: File) -> str:
        """Return a file's address for messages, with a bracket and a space before; "" for none."""
        url = address.shown(self._means.links.known(file.key))
        return f" [{url}]" if url else ""

    def part(self, file: File) -> Part:
        """Return what there is of a file that is fetched in one."""
        part = Part(self._parts, file.key)
        part.load()
        return part

    def write_text(self, file: File) -> None:
        """Write a text with links to those of its images that are here; nothing if it is right."""
        here = {one.url: one.link for one in file.images if one.key in self._manifest.records}
        text = (file.content or b"").decode()
        content = images.replace(text, self._wishes.base, here).encode()
        record = self._manifest.records.get(file.key)
        if record is None or record.etag != digest(content):
            self._place(file, content)

    def _job(self, job: Job, stop: Stop) -> Iterable[Job]:
        if isinstance(job, Piece):
            return self._piece(job, stop)
        if isinstance(job, Help):
            Helper(self._means, job, stop).run()
            return ()
        return self._file(job, stop)

    def _file(self, file: File, stop: Stop) -> Iterable[Job]:
        if file.content is not None:
            self._place(file, file.content)
        elif file.kind == "stream":
            return self._open(file, stop)
        elif file.kind == "image":
            self._image(file, stop)
        elif file.kind in ("quiz", "questions"):
            self._quiz(file, stop)
        else:
            self._share_out(file, stop)
            self._means.tally.finished()
        return ()

    def _share_out(self, file: File, stop: Stop) -> None:
        """Fetch a file; let idle threads help if it turns out to be large and slow."""
        part, pace = self.part(file), self._means.pace
        share = Share(part, pace.least, pace.stall, pace.read)
        with self._lock:
            self._shares[file.key] = file, share
        try:
            self._get(file, Transfer(self._means, file, part, stop, share, self.call), part)
        finally:
            with self._lock:
                del self._shares[file.key]

    def _get(self, file: File, transfer: Transfer, part: Part) -> None:
        try:
            transfer.run()
            self._keep(file, part)
        except (Stopped, Temporary):
            part.sync()
            raise
        finally:
            part.close()

    def _keep(self, file: File, part: Part) -> None:
        """Give a fetched file its name and its record; captions become SubRip on the way."""
        if file.kind == "caption":
            self._make(file, captions.to_srt(part.content()), part.known.etag)
            part.drop()
            return
        record = Record(file.key, file.path, part.offset, part.known.etag)
        if part.is_small():
            self._landing.add(Landed(part.hand_over(), self._target(file), record))
            return
        self._manifest.finished(record)
        part.become(self._target(file))

    def _place(self, file: File, content: bytes) -> None:
        """Have a file whose bytes are here already."""
        self._make(file, content, digest(content))
        self._means.tally.came(0, kept=len(content))
        self._means.tally.finished()

    def _make(self, file: File, content: bytes, etag: str) -> None:
        """Write bytes to a file, by the same way as fetched ones."""
        part = Part(self._parts, f"{file.key}{_MADE}")
        try:
            part.begin(Known(total=len(content)))
            part.append(content)
            record = Record(file.key, file.path, len(content), etag)
            if part.is_small():
                self._landing.add(Landed(part.hand_over(), self._target(file), record))
                return
            part.become(self._target(file))
        finally:
            part.close()
        self._manifest.finished(record)

    def _open(self, file: File, stop: Stop) -> Iterable[Job]:
        stream = Stream(file, self._means, folder_of(self._parts, file.key), self._wishes.height)
        try:
            missing = stream.open(stop)
        except Protected:
            self._leave(file, "drm")
            stream.drop()
            return ()
        if not missing:
            self._join(stream, stop)
        return missing

    def _piece(self, piece: Piece, stop: Stop) -> Iterable[Job]:
        if piece.stream.fetch(piece.number, stop):
            self._join(piece.stream, stop)
        return ()

    def _join(self, stream: Stream, stop: Stop) -> None:
        """Make a film of its pieces. If they make none, they are fetched anew, but only once."""
        file = stream.file
        try:
            size = stream.join(Path(self._target(file)), stop)
        except Unplayable:
            if file.key not in self._dropped:
                self._dropped.add(file.key)
                stream.drop()
            raise
        self._manifest.finished(Record(file.key, file.path, size))
        stream.drop()
        self._means.tally.learn(file.key, size)
        self._means.tally.finished()

    def _quiz(self, file: File, stop: Stop) -> None:
        found = self._sheets.get(file.lecture, stop)
        if not any(isinstance(one, dict) for one in found):
            self._leave(file, "kind: quiz without questions")
        elif file.kind == "questions":
            data = json.dumps(found, ensure_ascii=False, indent=1)
            self._place(file, data.encode("utf-8", "replace"))
        else:
            title = file.title.rpartition("/")[2]
            body = pictures.put_inside(quiz.body(found), self._wishes.base, self._means, stop)
            self._place(file, texts.page(title, body))

    def _image(self, file: File, stop: Stop) -> None:
        """Fetch an image; what prevents it costs the image and nothing else."""
        url = self._means.links.known(file.key)
        means, part = pictures.means_for(self._means, file.key, url), self.part(file)
        try:
            self._get(file, Transfer(means, file, part, stop), part)
        except (CourseRunnerError, Lost) as exc:
            reason = pictures.why(exc)
            self.part(file).drop()
            self._log.event("CHECK", "%s: %s; the link to it is kept.", file.path, reason)
            with self._lock:
                self.lost[file] = f"{reason.rstrip('.')}; the link is kept"
        self._means.tally.finished()

    def _leave(self, file: File, reason: str) -> None:
        """Note a file that is not for us, so that no run asks again."""
        self._log.event("CHECK", "%s is left out: %s.", file.path, reason)
        self._manifest.leave(file.key, reason)
        with self._lock:
            self.left[file] = reason
        self._means.tally.finished()

    def _target(self, file: File) -> str:
        return f"{self._root}/{file.path}"  # a path object costs a tenth of a small file


def _left(one: tuple[File, Share]) -> int:
    return one[1].left


def remembered(files: Iterable[File], manifest: Manifest) -> Mapping[File, str]:
    """Return the files that an earlier run has left out for good, and why."""
    return {file: manifest.left[file.key] for file in files if file.key in manifest.left}
