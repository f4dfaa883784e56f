"""The dispatcher is killed at every point that touches the cluster; every order ends exactly once.

Real objects, real containers, the product's own program with a downloader of ours. Each point has a
queue and an instance of its own; a few stories go on side by side, for most of the time is waiting
for containers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from contract import names
from tests.cluster import cluster
from tests.dispatcher.kubernetes_executor.job_watch import jobs_made
from tests.dispatcher.kubernetes_executor.namespaces import namespace, need_cluster
from tests.dispatcher.kubernetes_executor.outside import Outside, outside
from tests.dispatcher.kubernetes_executor.product_runs import AGAIN, SETTINGS, WORKS, may_release
from tests.dispatcher.kubernetes_executor.stories import Story

pytestmark = pytest.mark.cluster

DISPATCHING = (
    "intake:claimed",
    "intake:volume",
    "intake:run",
    "intake:board",
    "verdict:judged",
    "verdict:published",
    "verdict:marked",
    "retry:marked",
    "retry:run",
)
REAPING = ("reap:run", "reap:volume", "reap:gone")
POINTS = (*DISPATCHING, *REAPING)
COURSES = {"a": WORKS, "b": AGAIN}
"""One order that succeeds, one that is tried again."""


@dataclass(frozen=True)
class Told:
    """The stories by their point, each as soon as it is over, and what their runs passed on to."""

    stories: dict[str, Future[Story]]
    outside: Outside


def tell(story: Story, outside: Outside) -> Story:
    """All orders, a death at the point, a successor."""
    reaps = story.point in REAPING
    letters = ["a"] if reaps else ["a", "b"]
    for letter in letters:
        outside.add_row(story.tasks[letter], "queued")
        story.push(letter, courseUrl=COURSES[letter])
    keep = "0" if reaps else "1h"
    with story.dispatcher(KEEP_COMPLETED=keep, **story.deadly) as process:
        story.die(process)
    with story.dispatcher(KEEP_COMPLETED=keep):
        story.until(lambda: story.is_over(letters), "every order ends")
        if reaps:
            story.until(lambda: not story.objects("jobs,pvc"), "what may go goes")
            story.push("a", courseUrl=WORKS)
            story.until(lambda: not story.left(), "the order is settled")
    return story


@pytest.fixture(scope="module")
def told(redis7: str, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """The story of every point."""
    need_cluster()
    cluster.load_images()
    folder = tmp_path_factory.mktemp("stories")
    with ExitStack() as stack:
        space = stack.enter_context(namespace())
        may_release(space)
        made = stack.enter_context(jobs_made(space, folder))
        world = stack.enter_context(outside(postgres, space))
        pool = stack.enter_context(ThreadPoolExecutor(4))
        stories = [Story(redis7, space, folder, point, made, SETTINGS) for point in POINTS]
        yield Told({one.point: pool.submit(tell, one, world) for one in stories}, world)


@pytest.mark.parametrize("point", DISPATCHING)
def test_every_order_has_one_claim_and_one_job_wherever_the_dispatcher_died(
    told: Told, point: str
) -> None:
    story = told.stories[point].result()
    wanted = sorted(names.object_name(task) for task in story.tasks.values())
    assert sorted(found["metadata"]["name"] for found in story.objects("pvc")) == wanted
    assert sorted(found["metadata"]["name"] for found in story.objects("jobs")) == wanted
    assert story.runs_made() == {"a": 1, "b": 2}
    assert story.left() == 0
    assert story.redis.llen(names.dead_list(story.queue)) == 0
    for claim in story.objects("pvc"):
        marks = claim["metadata"]["annotations"]
        assert json.loads(marks[names.OUTCOME])["category"] == "done"
        assert marks[names.RELEASED], "its run has let go of it"
    for task in story.tasks.values():
        assert_told(told.outside, task)


@pytest.mark.parametrize("point", REAPING)
def test_what_may_go_goes_and_is_not_made_again_wherever_the_dispatcher_died(
    told: Told, point: str
) -> None:
    """The same order again is known as completed: nothing is made a second time."""
    story = told.stories[point].result()
    assert story.objects("jobs,pvc") == []
    assert story.runs_made() == {"a": 1, "b": 0}
    assert story.status("a") == "completed"
    assert_told(told.outside, story.tasks["a"])


def assert_told(outside: Outside, task: str) -> None:
    """The row says completed, and the backend was told so, by one event."""
    assert outside.row(task) == ("completed", "")
    assert outside.told(task) == {"completed": 1}
