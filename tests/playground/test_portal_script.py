"""The fault script: the right request is hit, and a script can be written down."""

import pytest

from playground.portal import actions as a
from playground.portal.faults import ACTIONS, FaultError, Faults, Rule, describe, dump, parse
from playground.wire import Request

PLAIN = Request("GET", "/", {})
RANGED = Request("GET", "/", {"range": "bytes=5-"})


def hits(faults, *requests, target="cdn:x"):
    return [bool(faults.take(target, request)) for request in requests]


def test_a_rule_acts_once_unless_told_otherwise():
    faults = Faults()
    faults.add("cdn:x", a.Drop())
    assert hits(faults, PLAIN, PLAIN) == [True, False]


def test_a_rule_lets_some_requests_pass_then_acts_so_many_times():
    faults = Faults()
    faults.add("cdn:x", a.Drop(), skip=2, times=3)
    assert hits(faults, *[PLAIN] * 7) == [False, False, True, True, True, False, False]


def test_a_rule_without_times_acts_always():
    faults = Faults()
    faults.add("cdn:x", a.Drop(), skip=1, times=None)
    assert hits(faults, *[PLAIN] * 5) == [False, True, True, True, True]


def test_a_rule_for_ranges_counts_only_requests_with_a_range():
    faults = Faults()
    faults.add("cdn:x", a.Drop(), ranged=True, skip=1)
    assert hits(faults, PLAIN, RANGED, PLAIN, RANGED) == [False, False, False, True]


def test_a_rule_for_whole_requests_counts_only_requests_without_a_range():
    faults = Faults()
    faults.add("cdn:x", a.Drop(), ranged=False)
    assert hits(faults, RANGED, PLAIN) == [False, True]


@pytest.mark.parametrize(
    ("on", "target", "hit"),
    [
        ("cdn:*", "cdn:course/001/720.mp4", True),
        ("cdn:*/720.mp4", "cdn:course/001/720.mp4", True),
        ("cdn:*/360.mp4", "cdn:course/001/720.mp4", False),
        ("api:*", "cdn:course/001/720.mp4", False),
        ("api:curriculum/*", "api:curriculum/course", True),
        ("api:lecture/a", "api:lecture/A", False),
    ],
)
def test_a_rule_names_its_targets_with_wildcards(on, target, hit):
    faults = Faults()
    faults.add(on, a.Drop())
    assert hits(faults, PLAIN, target=target) == [hit]


def test_all_rules_that_match_act_in_order():
    faults = Faults()
    faults.add("*", a.NoEtag())
    faults.add("*", a.Chunked())
    assert faults.take("cdn:x", PLAIN) == [a.NoEtag(), a.Chunked()]


def test_clear_forgets_all_rules():
    faults = Faults()
    faults.add("*", a.Drop(), times=None)
    faults.clear()
    assert hits(faults, PLAIN) == [False]


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_every_fault_can_be_written_down_and_read_back(name):
    rule = parse({"on": "cdn:*", "do": name, "skip": 1, "times": None, "ranged": True})
    assert rule == Rule("cdn:*", ACTIONS[name](), 1, None, True)
    assert parse(dump(rule)) == rule
    assert f"  {name} " in describe()


def test_the_script_tells_how_often_each_rule_was_met():
    faults = Faults()
    faults.put(parse({"on": "cdn:*", "do": "cut", "after": 5}))
    faults.take("cdn:x", PLAIN)
    faults.take("cdn:x", PLAIN)
    assert faults.as_json() == [
        {
            "on": "cdn:*",
            "do": "cut",
            "after": 5,
            "how": "reset",
            "skip": 0,
            "times": 1,
            "ranged": None,
            "met": 2,
        }
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "'on'"),
        ({"do": "cut"}, "'on'"),
        ({"on": "cdn:*", "do": "explode"}, "must be one of"),
        ({"on": "cdn:*"}, "must be one of"),
        ({"on": "cdn:*", "do": "cut", "afer": 5}, "does not know ['afer']"),
    ],
)
def test_a_rule_that_cannot_be_understood_is_refused_by_name(value, words):
    with pytest.raises(FaultError) as caught:
        parse(value)
    assert words in str(caught.value)
