"""The API: who may see what, in which order, page by page."""

from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from playground.content import Synthetic
from playground.portal import TOKEN, Portal
from playground.portal import courses as c
from playground.portal.catalogue import course_id
from tests.playground.playground_course import COURSE, SIZE

ID = course_id("test-course")
CURRICULUM = f"courses/{ID}/subscriber-curriculum-items/"


def both(token):
    return {"Authorization": f"Bearer {token}", "X-Udemy-Authorization": f"Bearer {token}"}


def items(ask, **query):
    return ask(CURRICULUM, page_size=200, **query).json()["results"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": f"Bearer {TOKEN}"},
        {"X-Udemy-Authorization": f"Bearer {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN}", "X-Udemy-Authorization": "Bearer other"},
        {"Authorization": TOKEN, "X-Udemy-Authorization": TOKEN},
        both("wrong"),
    ],
)
def test_without_the_right_token_in_both_headers_everything_is_401_with_json(portal, headers):
    url = f"{portal.url}/api-2.0/users/me/subscribed-courses"
    answer = requests.get(url, headers=headers, timeout=10)
    assert answer.status_code == 401
    assert answer.json() == {"detail": "Invalid token."}


def test_own_courses_are_found_by_search_and_matched_by_slug(ask):
    found = ask("users/me/subscribed-courses", search="test-course", page_size=500).json()
    assert (found["count"], found["next"], found["previous"]) == (1, None, None)
    assert found["results"][0] == {
        "_class": "course",
        "id": ID,
        "url": "/course/test-course/learn/",
        "title": "Test course",
        "published_title": "test-course",
    }
    assert ask("users/me/subscribed-courses", search="nothing like it").json()["results"] == []


def test_an_account_sees_and_gets_only_its_own_courses():
    courses = [c.Course("mine"), c.Course("yours")]
    with Portal(courses, {"T": ["mine"]}) as portal:
        root = f"{portal.url}/api-2.0"
        url = f"{root}/users/me/subscribed-courses"
        listed = requests.get(url, headers=both("T"), timeout=10).json()
        assert [one["published_title"] for one in listed["results"]] == ["mine"]
        for place in ("", "subscriber-curriculum-items/"):
            url = f"{root}/courses/{course_id('yours')}/{place}"
            answer = requests.get(url, headers=both("T"), timeout=10)
            assert answer.status_code == 403
            assert "permission" in answer.json()["detail"]


def test_archived_and_plan_courses_stand_in_lists_of_their_own():
    courses = [c.Course("plain"), c.Course("old", archived=True), c.Course("rented", plan=True)]
    with Portal(courses) as portal:
        root = f"{portal.url}/api-2.0/users/me"

        def slugs(path):
            answer = requests.get(f"{root}/{path}", headers=both(TOKEN), timeout=10)
            return [one["published_title"] for one in answer.json()["results"]]

        assert slugs("subscribed-courses") == ["plain"]
        assert slugs("subscribed-courses?is_archived=true") == ["old"]
        assert slugs("subscription-course-enrollments") == ["rented"]


def test_the_curriculum_keeps_the_order_of_the_course_and_counts_each_sort_for_itself(ask):
    lines = [(one["_class"], one["object_index"], one["title"]) for one in items(ask)]
    assert lines == [
        ("lecture", 1, "Before any chapter"),
        ("chapter", 1, "One"),
        ("lecture", 2, "Welcome"),
        ("quiz", 1, "Check"),
        ("lecture", 3, "Secret"),
        ("chapter", 2, "Two"),
        ("lecture", 4, "Text"),
        ("lecture", 5, "Book"),
        ("practice", 1, "Do it"),
        ("role-play", 1, "Talk"),
        ("quiz", 2, "Nothing to ask"),
    ]


def test_the_older_address_of_the_curriculum_answers_too(ask):
    old = ask(f"courses/{ID}/cached-subscriber-curriculum-items", page_size=200).json()
    assert old["count"] == 11


def test_only_the_classes_asked_for_are_listed(ask):
    assert {one["_class"] for one in items(ask, curriculum_types="chapter,quiz")} == {
        "chapter",
        "quiz",
    }


def test_a_page_holds_at_most_the_cap_and_next_is_an_absolute_url_to_be_followed():
    lectures = tuple(c.Practice(f"P{number}") for number in range(250))
    with Portal([c.Course("long", items=lectures)]) as portal:
        url = f"{portal.url}/api-2.0/courses/{course_id('long')}/subscriber-curriculum-items/"
        url, sizes, titles = f"{url}?page_size=1400&fields[practice]=title", [], []
        while url:
            page = requests.get(url, headers=both(TOKEN), timeout=10).json()
            assert page["count"] == 250
            sizes.append(len(page["results"]))
            titles += [one["title"] for one in page["results"]]
            url = page["next"]
    assert sizes == [100, 100, 50]
    assert titles == [f"P{number}" for number in range(250)]


def test_a_page_beyond_the_last_is_404(ask):
    assert ask(CURRICULUM, page=3).status_code == 404


def test_fields_nobody_asked_for_are_left_out(ask):
    query = {"fields[lecture]": "title,asset", "fields[asset]": "asset_type,captions"}
    video = next(one for one in items(ask, **query) if one["title"] == "Welcome")
    assert video.keys() == {"_class", "id", "title", "asset"}
    assert video["asset"].keys() == {"_class", "id", "asset_type", "captions"}
    assert video["asset"]["captions"][0].keys() > {"locale_id", "url"}


def asset(ask, title):
    return next(one for one in items(ask) if one["title"] == title)["asset"]


def test_a_plain_video_stands_in_stream_urls_and_media_sources_under_its_labels(ask):
    video = asset(ask, "Welcome")
    assert (video["asset_type"], video["media_license_token"]) == ("Video", None)
    streams = video["stream_urls"]["Video"]
    assert [(one["type"], one["label"]) for one in streams] == [
        ("video/mp4", "720"),
        ("video/mp4", "Auto"),
    ]
    assert [one["src"] for one in video["media_sources"]] == [one["file"] for one in streams]
    assert video["download_urls"] is None
    assert len(requests.get(streams[0]["file"], timeout=10).content) == SIZE


@pytest.mark.parametrize("place", ["stream_urls", "media_sources", "download_urls"])
def test_a_video_may_be_offered_in_one_place_only(place):
    video = c.Video("V", {360: Synthetic("v", 10)}, offered=frozenset({place}))
    with Portal([c.Course("s", items=(video,))]) as portal:
        url = f"{portal.url}/api-2.0/courses/{course_id('s')}/subscriber-curriculum-items/"
        asset = requests.get(url, headers=both(TOKEN), timeout=10).json()["results"][0]["asset"]
    places = ("stream_urls", "media_sources", "download_urls")
    assert [name for name in places if asset[name]] == [place]


def test_captions_name_language_and_origin_and_their_links_carry_secure(ask):
    captions = asset(ask, "Welcome")["captions"]
    assert [(one["locale_id"], one["source"]) for one in captions] == [
        ("en_GB", "manual"),
        ("de_DE", "auto"),
    ]
    assert "secure=" in captions[0]["url"]
    assert requests.get(captions[0]["url"], timeout=10).text == "WEBVTT\n"


def test_supplements_are_files_with_download_urls_or_external_links(ask):
    lecture = next(one for one in items(ask) if one["title"] == "Welcome")
    file, link = lecture["supplementary_assets"]
    assert (file["asset_type"], file["filename"]) == ("File", "notes.pdf")
    assert requests.get(file["download_urls"]["File"][0]["file"], timeout=10).content == b"%PDF-"
    assert (link["asset_type"], link["external_url"]) == ("ExternalLink", "https://example.com/")
    assert link["download_urls"] is None


def test_a_protected_lecture_has_a_licence_token_and_no_plain_source(ask):
    video = asset(ask, "Secret")
    assert video["course_is_drmed"] is True
    assert video["media_license_token"]
    assert video["stream_urls"] is None
    assert video["download_urls"] is None
    assert [one["type"] for one in video["media_sources"]] == ["application/dash+xml"]


def test_an_article_has_its_html_and_its_picture_needs_no_signature(ask):
    article = asset(ask, "Text")
    url = article["body"].removeprefix('<img src="').removesuffix('">')
    assert article["asset_type"] == "Article"
    assert not urlsplit(url).query
    assert requests.get(url, timeout=10).content == b"\x89PNG"


def test_a_document_stands_in_download_urls_under_its_type(ask):
    book = asset(ask, "Book")
    assert (book["asset_type"], book["filename"], book["file_size"]) == ("E-Book", "book.pdf", 8)
    assert (
        requests.get(book["download_urls"]["E-Book"][0]["file"], timeout=10).content == b"%PDF-1.4"
    )


def expiry(lecture):
    url = lecture["asset"]["stream_urls"]["Video"][0]["file"]
    return int(parse_qs(urlsplit(url).query)["Expires"][0])


def test_one_lecture_again_gives_links_that_live_longer(portal, ask):
    lecture = next(one for one in items(ask) if one["title"] == "Welcome")
    portal.clock.shift += 100
    again = ask(f"users/me/subscribed-courses/{ID}/lectures/{lecture['id']}").json()
    assert 99 <= expiry(again) - expiry(lecture) <= 110
    assert again["id"] == lecture["id"]


def test_a_lecture_that_is_none_is_404_with_json(ask):
    answer = ask(f"users/me/subscribed-courses/{ID}/lectures/5")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})


def test_the_course_tells_its_title(ask):
    course = ask(f"courses/{ID}/", **{"fields[course]": "title"}).json()
    assert course == {"_class": "course", "id": ID, "title": "Test course"}


def test_a_quiz_tells_its_questions_and_may_have_none(ask):
    full, empty = (one for one in items(ask) if one["_class"] == "quiz")
    question = ask(f"quizzes/{full['id']}/assessments/", page_size=250).json()["results"][0]
    assert question["assessment_type"] == "multiple-choice"
    assert question["prompt"]["answers"] == ["<p>Because</p>", "<p>Not</p>"]
    assert question["correct_response"] == ["a"]
    assert ask(f"quizzes/{empty['id']}/assessments/").json()["results"] == []


def test_a_coding_exercise_tells_instructions_and_files():
    coding = c.Coding("Write it.", {"test.py": "assert 1"}, {"main.py": "1"})
    with Portal([c.Course("s", items=(c.Quiz("Q", (coding,), "coding-exercise"),))]) as portal:
        root = f"{portal.url}/api-2.0"
        number = portal.catalogue.listings[0].entries[0].id
        url = f"{root}/quizzes/{number}/assessments/"
        one = requests.get(url, headers=both(TOKEN), timeout=10).json()["results"][0]
    assert one["assessment_type"] == "coding-problem"
    assert one["prompt"] == {
        "instructions": "Write it.",
        "test_files": [{"file_name": "test.py", "content": "assert 1"}],
        "solution_files": [{"file_name": "main.py", "content": "1"}],
    }


def test_ids_are_the_same_in_every_portal_so_a_client_can_come_back(ask):
    with Portal([COURSE]) as other:
        expected = [entry.id for entry in other.catalogue.listings[0].entries]
    assert [one["id"] for one in items(ask)] == expected


def test_a_revoked_token_is_refused_from_then_on_and_a_granted_one_accepted(portal, ask):
    portal.accounts.revoke(TOKEN)
    assert ask("users/me/subscribed-courses").status_code == 401
    portal.accounts.grant("new", ["test-course"])
    assert ask("users/me/subscribed-courses", token="new").status_code == 200


def test_unknown_paths_are_404_and_other_methods_405(portal, ask):
    assert ask("nothing/here").status_code == 404
    url = f"{portal.url}/api-2.0/users/me/subscribed-courses"
    assert requests.post(url, headers=both(TOKEN), json={}, timeout=10).status_code == 405
