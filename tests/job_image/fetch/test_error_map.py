"""Each row of the map from what the platform says to what it means and what is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from contract.errors import (
    AuthExpired,
    BlockedByPlatform,
    Misconfigured,
    NotEntitled,
    Temporary,
)
from playground.portal import actions
from tests.job_image.fetch.film import COURSE, CUT, FILM, NAME, ON, SIZE, SLUG, whole
from tests.job_image.fetch.order import QUICK, Order

Ordering = Callable[..., Order]

LIST = "api:subscribed-courses"
CURRICULUM = f"api:curriculum/{SLUG}"
LECTURE = f"api:lecture/{SLUG}/001"


def count(order: Order, target: str) -> int:
    return order.portal.ledger.of(target).requests


def test_401_is_an_expired_token_and_not_tried_again(ordering: Ordering) -> None:
    """401 ends the run at once, with the code that asks for a new token."""
    order = ordering(COURSE, environ={"PLATFORM_TOKEN": "old"})
    with pytest.raises(AuthExpired, match="refused the access token") as caught:
        order.fetch()
    assert count(order, LIST) == 1 and "PLATFORM_TOKEN" in caught.value.advice


def test_403_as_json_for_the_own_courses_is_an_expired_token(ordering: Ordering) -> None:
    """Everybody may see the own courses, so a refusal there speaks of the token."""
    order = ordering(COURSE)
    order.portal.faults.add(LIST, actions.Status(403), times=None)
    with pytest.raises(AuthExpired):
        order.fetch()
    assert count(order, LIST) == 1


def test_403_as_json_for_the_curriculum_is_not_entitled(ordering: Ordering) -> None:
    """The platform may list a course and yet not give it."""
    order = ordering(COURSE)
    order.portal.faults.add(CURRICULUM, actions.Status(403), times=None)
    with pytest.raises(NotEntitled, match="may not have"):
        order.fetch()
    assert count(order, CURRICULUM) == 1


@pytest.mark.parametrize("code", [403, 503, 429])
def test_a_challenge_page_is_a_block_and_not_tried_again(ordering: Ordering, code: int) -> None:
    """A page that asks for a human ends the run at once, whatever its status."""
    order = ordering(COURSE)
    order.portal.faults.add(LIST, actions.Challenge(code), times=None)
    with pytest.raises(BlockedByPlatform, match="asks for a human"):
        order.fetch()
    assert count(order, LIST) == 1


def test_a_challenge_page_under_200_is_a_block(ordering: Ordering) -> None:
    """Some guards answer 200."""
    order = ordering(COURSE)
    order.portal.faults.add(CURRICULUM, actions.Challenge(200), times=None)
    with pytest.raises(BlockedByPlatform):
        order.fetch()


def test_403_with_any_page_is_a_block(ordering: Ordering) -> None:
    """The API speaks JSON; a 403 in HTML comes from a guard before it."""
    order = ordering(COURSE)
    order.portal.faults.add(LIST, actions.Html(403), times=None)
    with pytest.raises(BlockedByPlatform):
        order.fetch()


def test_503_with_a_plain_page_is_a_tired_server(ordering: Ordering) -> None:
    """An error page without the marks of a challenge is tried again."""
    order = ordering(COURSE)
    order.portal.faults.add(CURRICULUM, actions.Html(503), times=1)
    order.fetch()
    assert count(order, CURRICULUM) == 2


def test_404_for_the_curriculum_is_not_entitled(ordering: Ordering) -> None:
    """A course that is gone is final."""
    order = ordering(COURSE)
    order.portal.faults.add(CURRICULUM, actions.Status(404), times=None)
    with pytest.raises(NotEntitled):
        order.fetch()
    assert count(order, CURRICULUM) == 1


def test_404_for_the_own_courses_means_no_platform(ordering: Ordering) -> None:
    """An address without the API is a wrong setting, and says which."""
    order = ordering(COURSE)
    order.portal.faults.add(LIST, actions.Status(404), times=None)
    with pytest.raises(Misconfigured, match="no course platform") as caught:
        order.fetch()
    assert "PLATFORM_URL" in caught.value.advice


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_5xx_is_tried_again(ordering: Ordering, code: int) -> None:
    """A passing failure of the API passes."""
    order = ordering(COURSE)
    order.portal.faults.add("api:*", actions.Status(code), times=1)
    order.fetch()
    assert order.read(NAME) == whole(FILM)


def test_a_dead_api_ends_as_temporary(ordering: Ordering) -> None:
    """An API that stays away is tried a bounded number of times."""
    order = ordering(COURSE)
    order.portal.faults.add(LIST, actions.Drop(), times=None)
    with pytest.raises(Temporary, match=r"127\.0\.0\.1"):
        order.fetch()
    assert count(order, LIST) == QUICK.tries


def test_nobody_listening_ends_as_temporary(ordering: Ordering) -> None:
    """A refused connection is temporary and names the host and the reason."""
    order = ordering(COURSE)
    order.portal.stop()
    with pytest.raises(Temporary, match=r"127\.0\.0\.1 .*refused"):
        order.fetch()


def test_an_unknown_host_ends_as_temporary(ordering: Ordering) -> None:
    """A name that cannot be found is named."""
    elsewhere = {"PLATFORM_URL": "http://no-such-host.invalid"}
    order = ordering(COURSE, environ=elsewhere, pace=replace(QUICK, tries=1))
    with pytest.raises(Temporary, match=r"no-such-host\.invalid"):
        order.fetch()


def test_a_stumbling_curriculum_is_asked_for_in_smaller_pages(ordering: Ordering) -> None:
    """5xx for a large page makes the pages smaller; nothing is lost."""
    order = ordering(COURSE)
    order.portal.faults.add(CURRICULUM, actions.Status(504), times=4)
    order.fetch()
    assert count(order, CURRICULUM) == 5
    assert order.read(NAME) == whole(FILM)


def test_429_of_the_api_waits_as_long_as_asked(ordering: Ordering) -> None:
    """Retry-After is honoured, and a 429 is no failed try."""
    order = ordering(COURSE, pace=replace(QUICK, tries=1))
    order.portal.faults.add(LIST, actions.Status(429, retry_after=1))
    began = time.monotonic()
    order.fetch()
    assert time.monotonic() - began >= 1.0 and count(order, LIST) == 2


def test_429_that_asks_for_no_wait_is_waited_for(ordering: Ordering) -> None:
    """Retry-After: 0 again and again ends at the budget, and is no tight loop."""
    order = ordering(COURSE, pace=replace(QUICK, base=0.05, cap=0.2, budget=0.5))
    order.portal.faults.add(LIST, actions.Status(429, retry_after=0), times=None)
    with pytest.raises(Temporary, match="limits the rate"):
        order.fetch()
    assert 3 <= count(order, LIST) <= 6


def test_5xx_that_says_how_long_it_lasts_is_for_the_dispatcher(ordering: Ordering) -> None:
    """A server that will be away for an hour is not asked again in smaller pages."""
    order = ordering(COURSE)
    order.portal.faults.add(CURRICULUM, actions.Status(503, retry_after=3600), times=None)
    with pytest.raises(Temporary) as caught:
        order.fetch()
    assert caught.value.retry_after == 3600 and count(order, CURRICULUM) == 1


def test_429_beyond_the_budget_is_for_the_dispatcher(ordering: Ordering) -> None:
    """A wait that is longer than a run should idle is passed on with its length."""
    order = ordering(COURSE)
    order.portal.faults.add(LIST, actions.Status(429, retry_after=600), times=None)
    with pytest.raises(Temporary, match="limits the rate") as caught:
        order.fetch()
    assert caught.value.retry_after == 600 and count(order, LIST) == 1


def test_429_of_the_cdn_waits_and_goes_on(ordering: Ordering) -> None:
    """A 429 in the middle of a file costs the wait and no byte."""
    order = ordering(COURSE, pace=replace(QUICK, tries=2))
    order.portal.faults.add(ON, actions.CutBody(CUT))
    order.portal.faults.add(ON, actions.Status(429), skip=1, times=3)
    fetched = order.fetch()
    assert order.read(NAME) == whole(FILM) and fetched.bytes_fetched == SIZE
    assert order.portal.ledger.of(ON).statuses == {200: 1, 429: 3, 206: 1}


@pytest.mark.parametrize("code", [403, 410])
def test_an_expired_link_is_renewed_and_gone_on_with(ordering: Ordering, code: int) -> None:
    """403 and 410 of the CDN: ask for the lecture again, go on at the same byte."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.CutBody(CUT))
    order.portal.faults.add(ON, actions.Expired(code), skip=1)
    fetched = order.fetch()
    assert order.portal.ledger.of(ON).ranges == [f"bytes={CUT}-"] * 2
    assert count(order, LECTURE) == 1
    assert order.read(NAME) == whole(FILM) and fetched.bytes_fetched == SIZE


def test_a_cdn_that_refuses_fresh_links_ends_as_temporary(ordering: Ordering) -> None:
    """Renewals in a row are bounded."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.Expired(), times=None)
    with pytest.raises(Temporary, match="403 even to a fresh address"):
        order.fetch()
    assert count(order, LECTURE) == 4  # two, and two more in the second try at the end


def test_404_of_a_file_fails_that_file(ordering: Ordering) -> None:
    """A file that is gone fails, and is named."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.Status(404), times=None)
    with pytest.raises(Temporary, match=r"Film\.mp4: .* 404 even to a fresh address"):
        order.fetch()


def test_404_of_a_lecture_fails_that_lecture(ordering: Ordering) -> None:
    """A lecture that is gone when its link is renewed fails, and the course is read anew later."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.Expired(), times=None)
    order.portal.faults.add(LECTURE, actions.Status(404), times=None)
    with pytest.raises(Temporary, match="The lecture is gone"):
        order.fetch()


def test_a_page_instead_of_a_film_is_not_kept(ordering: Ordering) -> None:
    """An error page under 200 is tried again and never becomes a film."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.Html(), times=2)
    order.fetch()
    assert order.read(NAME) == whole(FILM)


def test_a_challenge_of_the_cdn_is_a_block(ordering: Ordering) -> None:
    """A guard before the CDN is a guard."""
    order = ordering(COURSE)
    order.portal.faults.add(ON, actions.Challenge(), times=None)
    with pytest.raises(BlockedByPlatform):
        order.fetch()
    assert count(order, ON) == 1


@pytest.mark.parametrize("spoiled", [actions.Garbage(), actions.Html(), actions.Gzip()])
def test_an_answer_that_is_no_json_is_tried_again(
    ordering: Ordering, spoiled: actions.Action
) -> None:
    """Half a document, or a page, is no answer; a compressed one is."""
    order = ordering(COURSE)
    order.portal.faults.add(CURRICULUM, spoiled)
    order.fetch()
    assert order.read(NAME) == whole(FILM)


def test_a_redirect_of_the_api_to_a_stranger_is_not_followed(ordering: Ordering) -> None:
    """The token goes to the platform's own origin and to no other, and the cure is named."""
    order = ordering(COURSE)
    order.portal.faults.add(LIST, actions.Redirect("localhost"), times=None)
    with pytest.raises(Misconfigured, match="http://localhost:") as caught:
        order.fetch()
    assert count(order, LIST) == 1 and "PLATFORM_URL" in caught.value.advice
