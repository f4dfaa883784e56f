"""Whatever happens to a file on its way, in any order: the bytes at the end are one version's."""

from __future__ import annotations

import io
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.errors import Temporary
from job_image.sources.pace import Pace
from playground.content import Synthetic
from playground.portal import Portal, actions
from playground.portal.courses import Chapter, Course, Video
from tests.job_image.fetch.film import KEY, NAME, ON, SLUG, whole
from tests.job_image.fetch.order import QUICK, Order

SIZES = st.integers(1, 400_000) | st.integers(1_000_000, 3_000_000)
OFFSETS = st.integers(0, 3_000_000)


@dataclass(frozen=True)
class Publish:
    """The object is replaced by another version of that size."""

    size: int


FAULTS = st.one_of(
    st.builds(actions.CutBody, after=OFFSETS, how=st.sampled_from(["reset", "close"])),
    st.sampled_from(
        [
            actions.IgnoreRange(),
            actions.RangeWith200(),
            actions.WeakEtag(),
            actions.NoEtag(),
            actions.NoEtag(also_date=True),
            actions.Chunked(),
            actions.Gzip(),
            actions.Drop(),
            actions.Html(),
            actions.Expired(),
            actions.Status(503),
            actions.Unsatisfiable(),
            actions.WrongContentRange(start_by=1),
            actions.WrongContentRange(total_by=-1),
            actions.WrongContentRange(start_by=-7, move_body=True),
        ]
    ),
)
BUNDLES = st.lists(FAULTS, min_size=1, max_size=3)
STEPS = st.lists(BUNDLES | st.builds(Publish, SIZES), max_size=6)
LATE = st.sampled_from(
    [[actions.StallBody(0, 0.3)], [actions.StallBody(0, 0.3), actions.CutBody(0)]]
)
"""A head whose body is long in coming, or never comes."""
LATE_STEPS = st.lists(BUNDLES | LATE | st.builds(Publish, SIZES), max_size=6)
IMPATIENT = replace(QUICK, base=0.001, tries=1, restarts=1)
EAGER = replace(IMPATIENT, tries=2, slow=inf, least=64 * 1024)
"""Idle threads help with every file of some size, from its first byte on."""
SKIPS = st.lists(st.integers(0, 3), min_size=6, max_size=6)

Steps = list[list[actions.Action] | Publish]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(first=SIZES, steps=STEPS, skips=SKIPS)
def test_the_end_is_one_version_whole(first: int, steps: Steps, skips: list[int]) -> None:
    """Cuts, lies, replacements and new runs in any order never mix two versions or lose a byte."""
    tell(first, steps, skips, IMPATIENT)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(first=st.integers(500_000, 3_000_000), steps=LATE_STEPS, skips=SKIPS)
def test_the_end_is_one_version_whole_on_several_lines(
    first: int, steps: Steps, skips: list[int]
) -> None:
    """The same with several lines at one file at once."""
    tell(first, steps, skips, EAGER, actions.Rate(20_000_000))


def tell(first: int, steps: Steps, skips: list[int], pace: Pace, *always: actions.Action) -> None:
    """Let a history happen, and compare the bytes at its end."""
    versions = [Synthetic("version 0", first)]
    course = Course(SLUG, chapters=(Chapter("Only", (Video("Film", {720: versions[0]}),)),))
    root = Path(tempfile.mkdtemp())
    try:
        with Portal([course]) as portal:
            order = Order(portal, root, SLUG, pace=pace, out=io.StringIO())
            for step, skip in zip(steps, skips, strict=False):
                if isinstance(step, Publish):
                    versions.append(Synthetic(f"version {len(versions)}", step.size))
                    portal.replace(KEY, versions[-1])
                    continue
                for action in step:
                    portal.faults.add(ON, action, skip=skip)
                for action in always:
                    portal.faults.add(ON, action, times=None)
                with suppress(Temporary):
                    order.fetch()
            portal.faults.clear()
            order.fetch()
        assert order.read(NAME) in [whole(version) for version in versions]
    finally:
        shutil.rmtree(root)
