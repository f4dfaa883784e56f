"""Signed addresses: read their end, renew them before it, once for all who wait."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_image.sources.links import expiry
from playground.content import Synthetic, text
from playground.portal import actions
from playground.portal.courses import Caption, Chapter, Course, Video
from playground.portal.signing import Form
from tests.job_image.fetch.film import COURSE, FILM, KEY, NAME, ON, whole
from tests.job_image.fetch.order import Order

Ordering = Callable[..., Order]


@pytest.mark.parametrize("form", list(Form))
def test_the_end_of_every_form_of_signature_is_read(ordering: Ordering, form: Form) -> None:
    """Expires, secure and token all tell when the address ends."""
    order = ordering(COURSE)
    ends = expiry(order.portal.signed_url(KEY, form))
    assert ends is not None and abs(ends - time.time() - 3600) < 30


@given(st.text() | st.builds("https://h/p?{}".format, st.text()))
def test_any_text_has_an_end_or_none(url: str) -> None:
    """No address, however odd, is an accident."""
    assert expiry(url) is None or isinstance(expiry(url), float)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_token_has_an_end_or_none(ends: object) -> None:
    """A token may say anything about its end."""
    payload = base64.urlsafe_b64encode(json.dumps({"exp": ends}).encode()).decode()
    assert isinstance(expiry(f"https://h/p?token=a.{payload}.c"), float | None)


def test_an_address_that_ends_soon_is_renewed_before_use(ordering: Ordering) -> None:
    """With less than a minute left the lecture is asked for first; no refusal is provoked."""
    order = ordering(COURSE)
    order.portal.clock.ttl = 30
    order.fetch()
    assert order.portal.ledger.of("api:lecture/one-film/001").requests == 1
    assert order.portal.ledger.of(ON).statuses == {200: 1}
    assert order.read(NAME) == whole(FILM)


def test_links_that_died_during_a_course_are_renewed_per_lecture(ordering: Ordering) -> None:
    """When all links of a course die at once, each lecture is asked for once, whatever it holds."""
    lectures = tuple(
        Video(
            f"Part {number}",
            {720: Synthetic(f"part {number}", 50_000)},
            captions=tuple(Caption(one, text("WEBVTT\n")) for one in ("en_GB", "de_DE")),
        )
        for number in range(5)
    )
    order = ordering(Course("long", chapters=(Chapter("All", lectures),)))
    order.portal.faults.add("cdn:*", actions.StallBody(0), times=4)
    with ThreadPoolExecutor() as pool:
        running = pool.submit(order.fetch)
        order.portal.ledger.wait(lambda ledger: ledger.total("cdn:").stalled == 4)
        order.portal.expire_links()
        order.portal.release()
        running.result()
    asked = [visit.target for visit in order.portal.ledger.visits("api:lecture/")]
    assert sorted(asked) == [f"api:lecture/long/00{number}" for number in (2, 3, 4, 5)]
    assert len(order.files()) == 15
