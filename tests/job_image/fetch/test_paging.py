"""Lists that come in pages: all of them, none twice, and never for ever."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from contract.errors import Misconfigured, NotEntitled, Temporary
from playground.content import Synthetic
from playground.portal import actions
from playground.portal.courses import Article, Chapter, Course, Video
from tests.job_image.fetch.film import COURSE, SLUG
from tests.job_image.fetch.order import Order

Ordering = Callable[..., Order]

LONG = Course(
    "long",
    "Long",
    chapters=tuple(
        Chapter(f"Chapter {chapter}", tuple(Article(f"Text {n}", "<p/>") for n in range(30)))
        for chapter in range(1, 9)
    ),
)
CURRICULUM = "api:curriculum/long"


def test_a_long_curriculum_is_read_page_by_page(ordering: Ordering) -> None:
    """248 entries come in three pages, although more per page may be asked for."""
    order = ordering(LONG)
    assert order.fetch().files == 240
    assert order.portal.ledger.of(CURRICULUM).requests == 3
    assert order.files()[-1] == "08 - Chapter 8/030 Text 29.html"


def test_a_page_that_names_itself_as_next_is_noticed(ordering: Ordering) -> None:
    """An endless list ends in an error that says so."""
    order = ordering(LONG)
    order.portal.faults.add(CURRICULUM, actions.EndlessNext(), times=None)
    with pytest.raises(Temporary, match="never end"):
        order.fetch()
    assert order.portal.ledger.of(CURRICULUM).requests == 2


def test_missing_entries_are_noticed(ordering: Ordering) -> None:
    """Fewer entries than promised are an error, after a second look."""
    order = ordering(LONG)
    order.portal.faults.add(CURRICULUM, actions.Json("results/0", remove=True), times=None)
    with pytest.raises(Temporary, match="248 entries, but 245 came"):
        order.fetch()


def test_a_list_that_changed_while_it_was_read_is_read_again(ordering: Ordering) -> None:
    """One wrong count may be a change between two pages."""
    order = ordering(LONG)
    order.portal.faults.add(CURRICULUM, actions.Json("results/0", remove=True), times=1)
    assert order.fetch().files == 240


def test_next_on_another_host_is_not_followed(ordering: Ordering) -> None:
    """The token does not follow an address to a stranger."""
    order = ordering(LONG)
    elsewhere = actions.Json("next", "http://stranger.invalid/api-2.0/x")
    order.portal.faults.add(CURRICULUM, elsewhere, times=None)
    with pytest.raises(Misconfigured, match=r"stranger\.invalid"):
        order.fetch()


def test_smaller_pages_give_the_same_course(ordering: Ordering) -> None:
    """When the second large page fails, the list is read anew in smaller ones, in order."""
    order = ordering(LONG)
    order.portal.faults.add(CURRICULUM, actions.Status(502), skip=1, times=2)
    assert order.fetch().files == 240
    assert order.files()[0] == "01 - Chapter 1/001 Text 0.html"
    assert order.portal.ledger.of(CURRICULUM).requests == 3 + 5


@pytest.mark.parametrize("trait", [{"archived": True}, {"plan": True}])
def test_courses_put_away_or_had_through_a_plan_are_found(
    ordering: Ordering, trait: dict[str, bool]
) -> None:
    """All three lists of the account's courses are looked through."""
    video = Video("Film", {720: Synthetic("film", 10)})
    order = ordering(Course("away", items=(video,), **trait))
    assert order.fetch().files == 1


def test_a_course_far_down_the_list_is_found(ordering: Ordering) -> None:
    """The own courses are many pages long for some accounts."""
    others = tuple(Course(f"other-{number}") for number in range(250))
    order = ordering(COURSE)
    order.portal.stop()
    order = ordering(*others, COURSE)
    order.slug = SLUG
    assert order.fetch().files == 1
    assert order.portal.ledger.of("api:subscribed-courses").requests == 3


def test_a_course_is_found_by_its_id(ordering: Ordering) -> None:
    """The address may hold the id in place of the slug."""
    order = ordering(COURSE)
    order.slug = str(order.portal.catalogue.listings[0].id)
    assert order.fetch().folder == SLUG


def test_a_foreign_course_is_not_entitled(ordering: Ordering) -> None:
    """A course that is in none of the lists ends the run for good, and is named."""
    order = ordering(COURSE)
    order.slug = "somebody-elses"
    with pytest.raises(NotEntitled, match="somebody-elses"):
        order.fetch()


def test_an_account_without_plans_is_no_obstacle(ordering: Ordering) -> None:
    """A refusal of the list of plans counts as an empty list."""
    order = ordering(Course("away", archived=True))
    order.portal.faults.add("api:enrollments", actions.Status(403), times=None)
    assert order.fetch().files == 0
