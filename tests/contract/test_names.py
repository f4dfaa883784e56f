"""Names: a function of the id alone, valid everywhere, never shared by two ids."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from contract import names

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
"""Both as the Kubernetes API server writes them in its own refusals."""

any_id = st.text(st.characters(exclude_categories=[]), min_size=1, max_size=300)
near_ids = st.text(st.sampled_from("aA1-._ /x"), min_size=1, max_size=6)
hashed_ids = st.text(st.sampled_from("0123456789abcdef"), min_size=16, max_size=16).flatmap(
    lambda digits: st.sampled_from([f"x-{digits}", f"a-{digits}", f"999-{digits}"])
)
ids = any_id | near_ids | hashed_ids | st.integers(0, 2**53).map(str)


@given(ids)
def test_an_object_name_is_a_dns_label_of_at_most_52_characters(key: str) -> None:
    name = names.object_name(key)
    assert DNS_LABEL.fullmatch(name)
    assert len(name) <= 52


@given(ids)
def test_a_label_value_is_one_that_kubernetes_takes(key: str) -> None:
    value = names.label_value(key)
    assert LABEL_VALUE.fullmatch(value)
    assert len(value) <= 63


@given(ids)
def test_a_folder_name_is_safe_on_any_file_system(key: str) -> None:
    name = names.folder_name(key)
    assert re.fullmatch(r"Task_[a-z0-9._-]*[a-z0-9]", name)
    assert len(name) <= 255


@given(ids, ids)
def test_two_ids_never_share_a_name(one: str, other: str) -> None:
    assume(one != other)
    assert names.object_name(one) != names.object_name(other)
    assert names.label_value(one) != names.label_value(other)
    assert names.folder_name(one) != names.folder_name(other)


@given(ids, ids)
def test_two_folders_differ_also_where_case_does_not_count(one: str, other: str) -> None:
    assume(one != other)
    assert names.folder_name(one).casefold() != names.folder_name(other).casefold()


@given(ids)
def test_the_name_of_an_id_cannot_be_taken_by_an_id_that_looks_like_it(key: str) -> None:
    """An id that is spelt like another one's hashed name must not get that name."""
    slug = names.object_name(key).removeprefix(names.OBJECT_PREFIX)
    assume(slug != key)
    assert names.object_name(slug) != names.object_name(key)


@pytest.mark.parametrize("key", ["999", "0", "a", "test-course", "a1-b2", "x" * 45])
def test_a_safe_id_stays_itself(key: str) -> None:
    assert names.object_name(key) == f"course-{key}"
    assert names.label_value(key) == key
    assert names.folder_name(key) == f"Task_{key}"


@pytest.mark.parametrize("key", ["A.b_C", "Order-7", "v1.2"])
def test_a_label_keeps_more_than_a_name_can(key: str) -> None:
    assert names.label_value(key) == key
    assert names.object_name(key) != f"course-{key}"


@pytest.mark.parametrize("key", ["", " ", "-", "a-", "-a", "ä", "a/b", "..", "A", "x" * 46, "漢字"])
def test_an_unsafe_id_gets_a_hash_and_keeps_what_a_person_can_read(key: str) -> None:
    name = names.object_name(key)
    assert re.fullmatch(r"course-([a-z0-9-]+-)?[0-9a-f]{16}", name)
    if key.strip("-").isascii() and key.strip("-").isalnum():
        assert key.strip("-").lower()[:20] in name


def test_the_old_workers_folder_name_is_kept() -> None:
    assert names.folder_name("999") == "Task_999"


def test_the_keys_in_redis_are_those_of_the_contract() -> None:
    """Users script against them: they never change."""
    assert names.DEFAULT_QUEUE == "rq:queue:downloads"
    assert names.claimed_list("q", "d1") == "q:claimed:d1"
    assert names.dead_list("q") == "q:dead"
    assert names.task_hash("999") == "course-runner:task:999"
    assert names.EVENTS_KEY == "course-runner:events"
