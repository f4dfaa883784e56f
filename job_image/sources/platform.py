"""The built-in source: a course of the platform, fetched with the account's own token.

    token -> course among the account's own -> curriculum -> plan -> what is there -> the rest

Goes in: the order and the settings. Comes out: the course folder, whole, and a list of what could
not be had. The platform's word is taken at every start (course and curriculum are asked for again),
the volume's word for what is done: a complete course costs two requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from contract.errors import NotEntitled, Stopped, Temporary
from job_image.context import Context
from job_image.sandbox import Sandbox, refusals, sync_folder, write_durably
from job_image.sources import (
    Fetched,
    address,
    captions,
    choice,
    course,
    curriculum,
    plan,
    resume,
    tokens,
)
from job_image.sources.api import Api
from job_image.sources.crew import Crew, attended
from job_image.sources.figures import size
from job_image.sources.http import Means, Transfer
from job_image.sources.links import Links
from job_image.sources.manifest import Manifest, Record
from job_image.sources.pace import Pace, Patience
from job_image.sources.part import Part
from job_image.sources.plan import File, Plan
from job_image.sources.ranges import Known
from job_image.sources.space import Space
from job_image.sources.tally import Tally
from job_image.sources.wire import Wire
from job_image.stop import Stop

SKIPPED_FILE = "SKIPPED.txt"
"""In the course folder: what could not be had, and why. Travels with the course."""

_MADE = ".made"
"""Marks the part of a file that is made here, such as captions turned into SubRip."""

_LECTURE = {
    "fields[lecture]": "title,description,view_html,asset,supplementary_assets",
    "fields[asset]": "title,filename,asset_type,stream_url,thumbnail_url,download_urls,"
    "stream_urls,media_sources,captions,data,course_is_drmed,media_license_token,external_url,"
    "file_size,body",
}
_CURRICULUM = {
    "fields[lecture]": "title,object_index,created,asset,supplementary_assets",
    "fields[quiz]": "title,object_index,type",
    "fields[practice]": "title,object_index",
    "fields[chapter]": "title,object_index",
    "fields[asset]": "title,filename,asset_type,status,is_external,media_license_token,"
    "course_is_drmed,media_sources,captions,slides,slide_urls,download_urls,external_url,"
    "stream_urls,file_size,body",
    "caching_intent": "True",
}


def fetch(context: Context, *, pace: Pace | None = None) -> Fetched:
    """Fetch the order's course into the sandbox; go on where an earlier call or run stopped.

    Raise `AuthExpired`, `NotEntitled`, `BlockedByPlatform`, `Misconfigured`, `VolumeFull`,
    `Temporary`, `Stopped`. `pace`: the waits, shorter in tests.
    """
    return _Fetch(context, pace or Pace()).run()


class _Fetch:
    """One call of `fetch`."""

    def __init__(self, context: Context, pace: Pace) -> None:
        settings = context.settings.platform
        self._context = context
        self._pace = pace
        self._log = context.log.bind(phase="fetch")
        token = tokens.choose(settings, context.task.email)
        self._crew = Crew[File](settings.concurrency, self._fetch_file, settings.widest)
        self._wire = Wire(_base(context), token, pace, settings.widest)
        self._patience = Patience(pace, self._crew.shrink)
        self._api = Api(self._wire, pace, self._patience)
        self._wishes = choice.wishes(context.task.quality, context.task.captions)
        self._manifest = Manifest(context.sandbox)
        self._tally = Tally(context.progress, self._log)
        self._space = Space(context.sandbox.root)
        self._course_id = ""
        self._links: Links

    def run(self) -> Fetched:
        made = attended(self._plan, self._context.stop, self._wire.abort)
        left = self._look_around(made)
        self._links = Links(made.urls, self._renew, self._pace.margin)
        failed = self._all(left)
        if failed:
            self._log.event("RESUME", "Trying %d failed files once more.", len(failed))
            failed = self._all(list(failed))
        self._finish(made)
        if failed:
            raise _failure(failed, len(made.files))
        return Fetched(
            folder=made.folder,
            files=len(made.files),
            bytes_fetched=self._tally.received,
            bytes_reused=self._tally.reused,
            skipped=made.skipped,
        )

    def _plan(self) -> Plan:
        """Ask the platform what the course holds."""
        stop = self._context.stop
        self._check_quality()
        found = course.find(self._api, course.wanted(self._context.task.course_url), stop)
        self._course_id = quote(found.id, safe="")
        path = f"/courses/{self._course_id}/subscriber-curriculum-items/"
        listed = self._api.everything(path, _CURRICULUM, "the curriculum", stop)
        made = plan.make(found, curriculum.entries(listed), self._wishes)
        self._log.event(
            "CHECK",
            'Course "%s" found (%s): %d files in %d chapters, %d items cannot be had.',
            found.title,
            found.id,
            len(made.files),
            made.chapters,
            len(made.skipped),
        )
        return made

    def _check_quality(self) -> None:
        asked = self._context.task.quality
        if asked and self._wishes.height is None and asked.lower() not in choice.BEST:
            self._log.event("CHECK", 'Quality "%s" is no height; the best is taken.', asked)

    def _look_around(self, made: Plan) -> list[File]:
        """Set the plan against the volume; return the files that are to be fetched."""
        done = resume.reconcile(self._context.sandbox, made, self._manifest)
        self._tally.begin(made.files)
        self._tally.found(sum(one.size for one in self._manifest.records.values()), len(done))
        left = [file for file in made.files if file.key not in done]
        begun = {file.key: part for file in left if (part := self._part(file)).offset}
        self._tally.found(sum(part.offset for part in begun.values()))
        for key in made.urls:
            known = begun[key].known.total if key in begun else self._size(key)
            self._tally.learn(key, known)
        self._tell_what_is_there(len(done), made, list(begun.values()))
        self._check_space(left, begun)
        return left

    def _size(self, key: str) -> int | None:
        record = self._manifest.records.get(key)
        return record.size if record else None

    def _tell_what_is_there(self, done: int, made: Plan, begun: list[Part]) -> None:
        whole = size(sum(one.size for one in self._manifest.records.values()))
        goes = f", {len(begun)} {'goes' if len(begun) == 1 else 'go'} on at " if begun else ""
        goes += size(sum(part.offset for part in begun)) if begun else ""
        if done or begun:
            text = "%d of %d files are complete (%s)%s."
            self._log.event("RESUME", text, done, len(made.files), whole, goes)

    def _check_space(self, left: list[File], begun: Mapping[str, Part]) -> None:
        """Refuse before the first byte what cannot fit; videos tell their size only later."""
        known = [
            (begun[file.key].known.total or 0) - begun[file.key].offset
            if file.key in begun
            else (file.size or 0) * (file.kind != "video")
            for file in left
        ]
        self._space.check(sum(known), f"{len(left)} files")

    def _all(self, files: list[File]) -> dict[File, Temporary]:
        return self._crew.run(
            files,
            self._context.stop,
            self._tally.speak,
            self._wire.abort,
            lambda: self._tally.received,
        )

    def _part(self, file: File) -> Part:
        part = Part(resume.parts_folder(self._context.sandbox), file.key)
        part.load()
        return part

    def _fetch_file(self, file: File, stop: Stop) -> None:
        """Have one file under its name, and its record written (in a thread of the crew)."""
        try:
            if file.content is None:
                self._get(file, stop)
            else:
                self._place(file, file.content)
                self._tally.came(0, kept=len(file.content))
        except Temporary as exc:
            self._log.event("ERROR", "%s: %s", file.path, exc.summary)
            raise
        self._tally.finished()

    def _get(self, file: File, stop: Stop) -> None:
        part = self._part(file)
        means = Means(self._wire, self._links, self._pace, self._patience, self._space, self._tally)
        try:
            Transfer(means, file, part, stop).run()
            self._keep(file, part)
        except (Stopped, Temporary):
            part.sync()
            raise
        finally:
            part.close()

    def _keep(self, file: File, part: Part) -> None:
        """Give a fetched file its name and its record; captions become SubRip on the way."""
        if file.kind == "caption":
            self._place(file, captions.to_srt(part.content()), part.known.etag)
            part.drop()
            return
        self._manifest.finished(Record(file.key, file.path, part.offset, part.known.etag))
        part.become(self._context.sandbox.root / file.path)

    def _place(self, file: File, content: bytes, etag: str = "") -> None:
        """Have a file whose bytes are here already, by the same way as a fetched one."""
        part = Part(resume.parts_folder(self._context.sandbox), f"{file.key}{_MADE}")
        try:
            part.begin(Known(total=len(content)))
            part.append(content)
            part.become(self._context.sandbox.root / file.path)
        finally:
            part.close()
        self._manifest.finished(Record(file.key, file.path, len(content), etag))

    def _renew(self, lecture: str, stop: Stop) -> dict[str, str]:
        """Ask for one lecture again; return the fresh addresses of its files."""
        path = f"/users/me/subscribed-courses/{self._course_id}/lectures/{quote(lecture, safe='')}"
        try:
            data = self._api.get(path, _LECTURE, f"lecture {lecture}", stop)
        except NotEntitled as exc:
            raise Temporary(
                f"The lecture is gone: {exc.summary}",
                advice="The course has changed; the next attempt reads it anew.",
            ) from exc
        entry = curriculum.entry(data, "lecture")
        return plan.addresses(entry, self._wishes)

    def _finish(self, made: Plan) -> None:
        """Write the records and the list of what is left out."""
        self._manifest.write(made)
        _write_skipped(self._context.sandbox, made)


def _write_skipped(sandbox: Sandbox, made: Plan) -> None:
    """Write what could not be had and why; no file when there is nothing to tell."""
    target = sandbox.root / made.folder / SKIPPED_FILE
    lines = [f"{one.title}: {one.reason}\n" for one in made.skipped]
    scratch = sandbox.state_file(SKIPPED_FILE)
    write_durably(scratch, "".join(lines).encode("utf-8", "replace"))
    with refusals(target):
        target.parent.mkdir(exist_ok=True)
        if lines:
            scratch.replace(target)
        else:
            scratch.unlink()
            target.unlink(missing_ok=True)
        sync_folder(target.parent)
        sync_folder(sandbox.root)


def _base(context: Context) -> str:
    """Return the platform's base address: the setting, else the course URL's own origin."""
    return context.settings.platform.url or address.place(context.task.course_url)


def _failure(failed: Mapping[File, Temporary], total: int) -> Temporary:
    """Return the error that names the files that could not be had."""
    first, error = next(iter(failed.items()))
    more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
    return Temporary(
        f"{len(failed)} of {total} files could not be fetched: {first.path}: "
        f"{error.summary.rstrip('.')}{more}.",
        advice=error.advice or "What was fetched is kept; only the rest is tried again.",
        retry_after=max((one.retry_after or 0 for one in failed.values()), default=0) or None,
    )
