"""The built-in source: a course of the platform, fetched with the account's own token.

    token -> course among the account's own -> curriculum -> plan -> what is there -> the rest

Goes in: the order and the settings. Comes out: the course folder, whole, and a list of what could
not be had. The platform's word is taken at every start (course and curriculum are asked for again),
the volume's word for what is done: a complete course costs two requests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from urllib.parse import quote

from contract.errors import CourseRunnerError, NotEntitled, Stopped, Temporary
from job_image.context import Context
from job_image.sources import (
    Fetched,
    address,
    choice,
    course,
    curriculum,
    items,
    plan,
    remains,
    resume,
    tokens,
)
from job_image.sources.api import Api
from job_image.sources.crew import Crew, attended
from job_image.sources.figures import size
from job_image.sources.hands import Hands, Job, file_of, remembered
from job_image.sources.http import Means
from job_image.sources.links import Links
from job_image.sources.manifest import Manifest
from job_image.sources.pace import Pace, Patience
from job_image.sources.part import Part
from job_image.sources.plan import File, Plan
from job_image.sources.sheets import Sheets
from job_image.sources.space import Space
from job_image.sources.stream import bytes_in, folder_of
from job_image.sources.tally import Tally
from job_image.sources.width import Sight, Width
from job_image.sources.wire import Wire
from job_image.stop import Stop

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
        width = Width(settings.concurrency, settings.widest, pace.slow)
        self._crew = Crew[Job](width, self._work, lambda: self._hands.spare())
        self._wire = Wire(_base(context), token, pace, settings.widest)
        self._patience = Patience(pace, self._crew.shrink)
        self._api = Api(self._wire, pace, self._patience)
        self._wishes = replace(
            choice.wishes(context.task.quality, context.task.captions),
            runs_on=settings.numbers_run_on,
            is_named_by_id=settings.is_named_by_id,
            base=self._wire.base,
        )
        self._manifest = Manifest(context.sandbox)
        self._tally = Tally(context.progress, self._log)
        self._space = Space(context.sandbox.root)
        self._course_id = ""
        self._hands: Hands

    def run(self) -> Fetched:
        made = attended(self._plan, self._context.stop, self._wire.abort)
        self._hands = self._equip(made)
        try:
            return self._have(made)
        finally:
            self._hands.close()

    def _have(self, made: Plan) -> Fetched:
        """Have the files of the plan."""
        failed = self._all(self._look_around(made))
        if failed:
            self._log.event("RESUME", "Trying %d failed files once more.", len(failed))
            failed = self._all(failed)
        self._write_texts(made)
        self._hands.land()
        return self._finish(made, failed)

    def _equip(self, made: Plan) -> Hands:
        links = Links(made.urls, self._renew, self._pace.margin)
        means = Means(self._wire, links, self._pace, self._patience, self._space, self._tally)
        sandbox, sheets = self._context.sandbox, Sheets(self._api)
        hands = Hands(sandbox, means, self._manifest, sheets, self._wishes, self._log)
        hands.call = self._crew.call
        return hands

    def _work(self, job: Job, stop: Stop) -> Iterable[Job]:
        return self._hands.work(job, stop)

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
        self._hands.left.update(remembered(made.files, self._manifest))
        left = [file for file in made.files if file.key not in done]
        begun = {file.key: part for file in left if (part := self._hands.part(file)).here}
        pieces = {file.key: self._pieces(file) for file in left if file.kind == "stream"}
        there = [*(part.here for part in begun.values()), *filter(None, pieces.values())]
        self._tally.found(sum(there))
        for key in made.urls:
            known = begun[key].known.total if key in begun else self._size(key)
            self._tally.learn(key, known)
        self._tell_what_is_there(len(done), made, there)
        self._check_space(left, begun)
        return [file for file in left if not file.images]

    def _pieces(self, file: File) -> int:
        """Return the bytes of a film's pieces that are there."""
        return bytes_in(folder_of(resume.parts_folder(self._context.sandbox), file.key))

    def _size(self, key: str) -> int | None:
        record = self._manifest.records.get(key)
        return record.size if record else None

    def _tell_what_is_there(self, done: int, made: Plan, begun: list[int]) -> None:
        whole = size(sum(one.size for one in self._manifest.records.values()))
        goes = f", {len(begun)} {'goes' if len(begun) == 1 else 'go'} on at " if begun else ""
        goes += size(sum(begun)) if begun else ""
        if done or begun:
            text = "%d of %d files are complete (%s)%s."
            left = len(self._hands.left)
            self._log.event("RESUME", text, done - left, len(made.files) - left, whole, goes)

    def _check_space(self, left: list[File], begun: Mapping[str, Part]) -> None:
        """Refuse before the first byte what cannot fit; videos tell their size only later."""
        known = [
            (begun[file.key].known.total or 0) - begun[file.key].here
            if file.key in begun
            else (file.size or 0) * (file.kind not in ("video", "stream"))
            for file in left
        ]
        self._space.check(sum(known), f"{len(left)} files")

    def _all(self, files: Collection[File]) -> dict[File, Temporary]:
        """Have all files; return the failed ones in their order, each with its first error."""
        try:
            failed = self._crew.run(
                files,
                self._context.stop,
                self._tally.speak,
                self._wire.abort,
                self._see,
            )
        except Stopped:
            raise  # no time to wait for the volume: the last small files are fetched again
        except CourseRunnerError:
            with suppress(CourseRunnerError):  # the first one tells more
                self._hands.land()
            raise
        self._hands.land()
        errors = {file_of(job): error for job, error in reversed(list(failed.items()))}
        return {file: errors[file] for file in files if file in errors}

    def _see(self) -> Sight:
        wire = self._wire
        return Sight(self._tally.received, wire.answers, wire.waited, time.process_time())

    def _write_texts(self, made: Plan) -> None:
        """Write the texts that have images, now that it is known which of those are here."""
        for file in made.files:
            self._context.stop.check()
            if file.images:
                self._hands.write_text(file)

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
        return items.addresses(entry, self._wishes)

    def _finish(self, made: Plan, failed: Mapping[File, Temporary]) -> Fetched:
        """Write the records and the list of what is left out; raise if that is not to be."""
        reasons = {file: error.summary.rstrip(".") for file, error in failed.items()}
        given_up = reasons if self._may_go_on() else {}
        skipped = remains.listed(made, self._hands.left, {**given_up, **self._hands.lost})
        self._manifest.failed = {file.key: why for file, why in reasons.items()}
        self._manifest.write(replace(made, skipped=skipped))
        remains.write(self._context.sandbox, made.folder, skipped)
        remains.tell(self._context, skipped)
        if len(failed) > len(given_up):
            raise _failure(failed, len(made.files), self._hands.where)
        return Fetched(
            folder=made.folder,
            files=len(self._manifest.records),
            bytes_fetched=self._tally.received,
            bytes_reused=self._tally.reused,
            skipped=skipped,
        )

    def _may_go_on(self) -> bool:
        """Whether a course may do without what has failed; one of which nothing came may not."""
        return self._context.settings.platform.skips_failed and bool(self._manifest.records)


def _base(context: Context) -> str:
    """Return the platform's base address: the setting, else the course URL's own origin."""
    return context.settings.platform.url or address.place(context.task.course_url)


def _failure(
    failed: Mapping[File, Temporary], total: int, where: Callable[[File], str]
) -> Temporary:
    """Return the error that names the files that could not be had."""
    first, error = next(iter(failed.items()))
    more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
    return Temporary(
        f"{len(failed)} of {total} files could not be fetched: {first.path}: "
        f"{error.summary.rstrip('.')}{where(first)}{more}.",
        advice=error.advice
        or "What was fetched is kept; only the rest is tried again. "
        "ON_ITEM_FAILURE=skip completes a course without what cannot be had.",
        retry_after=max((one.retry_after or 0 for one in failed.values()), default=0) or None,
    )
