"""The command line: real processes, told by signals, found by their ready file."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import requests

from playground.certificate import CertificateError, make_certificate
from playground.content import Synthetic
from playground.portal import TOKEN
from playground.portal.api import ROUTES
from playground.portal.faults import parse

LIMIT = 30.0


@pytest.fixture
def start(tmp_path):
    """Start `python -m playground …`; gives the process and what its ready file says."""
    started = []

    def run(*arguments, **environment):
        ready = tmp_path / f"ready-{len(started)}.json"
        command = [sys.executable, "-m", "playground", *arguments, "--ready-file", str(ready)]
        process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE)
        started.append(process)
        return process, until_ready(process, ready)

    yield run
    for process in started:
        process.kill()
        process.communicate()


def until_ready(process, ready):
    deadline = time.monotonic() + LIMIT
    while not ready.exists():
        assert process.poll() is None, "The process ended before it was ready."
        assert time.monotonic() < deadline, "The process was not ready in time."
        time.sleep(0.01)  # between two looks, not instead of one
    return json.loads(ready.read_text())


def bearer(token=TOKEN):
    return {"Authorization": f"Bearer {token}", "X-Udemy-Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_portal_serves_the_built_in_sample_until_a_signal_and_ends_with_zero(start, number):
    process, ready = start("portal")
    url = f"{ready['url']}/api-2.0/users/me/subscribed-courses"
    assert requests.get(url, headers=bearer(), timeout=10).json()["count"] == 4
    assert ready["pid"] == process.pid
    assert ready["course test-course"] == f"{ready['url']}/course/test-course/"
    process.send_signal(number)
    assert process.wait(LIMIT) == 0


def test_a_portal_ends_at_once_although_a_client_waits_for_a_stalled_body(start):
    process, ready = start("portal")
    control = f"{ready['url']}/_control"
    script = [{"on": "cdn:*", "do": "html"}, {"on": "cdn:*", "do": "stall", "after": 5}]
    requests.post(f"{control}/faults", json=script, timeout=10)
    answer = requests.get(f"{ready['cdn_url']}/x", stream=True, timeout=10)
    assert answer.raw.read(5) == b"<html"
    ledger = requests.get(f"{control}/ledger", timeout=10).json()
    assert ledger["targets"]["cdn:x"]["running"] == 1
    process.terminate()
    assert process.wait(LIMIT) == 0
    answer.close()


def test_a_portal_takes_courses_tokens_ports_and_limits(start, tmp_path):
    courses = tmp_path / "courses.yaml"
    courses.write_text(
        "tokens: {abc: [one]}\n"
        "courses: [{slug: one, items: [{kind: practice, title: a}, {kind: practice, title: b}]}]\n"
    )
    _, ready = start("portal", "--courses", str(courses), "--page-cap", "1", "--ttl", "7")
    root = ready["url"]
    courses = requests.get(
        f"{root}/api-2.0/users/me/subscribed-courses", headers=bearer("abc"), timeout=10
    )
    number = courses.json()["results"][0]["id"]
    url = f"{root}/api-2.0/courses/{number}/subscriber-curriculum-items/"
    page = requests.get(url, headers=bearer("abc"), timeout=10).json()
    assert (page["count"], len(page["results"])) == (2, 1)
    assert requests.get(f"{root}/_control/clock", timeout=10).json()["ttl"] == 7


def test_a_portal_takes_its_token_from_the_environment(start):
    _, ready = start("portal", PLATFORM_TOKEN="from-outside")
    url = f"{ready['url']}/api-2.0/users/me/subscribed-courses"
    assert requests.get(url, headers=bearer("from-outside"), timeout=10).status_code == 200
    assert requests.get(url, headers=bearer(), timeout=10).status_code == 401


def test_a_portal_speaks_tls_with_a_certificate_clients_can_check(start, tmp_path):
    folder = tmp_path / "tls"
    _, ready = start("portal", "--tls", str(folder))
    trusted = str(folder / "certificate.pem")
    root = ready["url"]
    assert root.startswith("https://")
    url = f"{root}/api-2.0/users/me/subscribed-courses?search=test-course"
    number = requests.get(url, headers=bearer(), verify=trusted, timeout=10).json()["results"][0][
        "id"
    ]
    url = f"{root}/api-2.0/courses/{number}/subscriber-curriculum-items/?page_size=2"
    page = requests.get(url, headers=bearer(), verify=trusted, timeout=10).json()
    assert page["next"].startswith("https://")
    link = page["results"][1]["asset"]["media_sources"][0]["src"]
    assert link.startswith("https://")
    data = requests.get(link, verify=trusted, timeout=30).content
    expected = Synthetic("welcome-720.mp4", len(data)).read(0, len(data))
    assert hashlib.sha256(data).digest() == hashlib.sha256(expected).digest()
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(root, timeout=10)


def test_a_certificate_is_made_once(tmp_path):
    first = make_certificate(tmp_path).read_bytes()
    assert make_certificate(tmp_path).read_bytes() == first


def test_no_certificate_without_openssl(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CertificateError, match="no openssl on PATH"):
        make_certificate(tmp_path / "tls")


def test_a_receiver_takes_its_secrets_from_the_environment(start):
    process, ready = start("receiver", API_SECRET_KEY="s3cret")
    event = {"secret_key": "wrong", "task_id": 1, "folder_name": "f", "timestamp": 1}
    answer = requests.post(ready["url"], json=event, timeout=10)
    assert (answer.status_code, answer.text) == (401, "wrong secret_key")
    kept = requests.get(f"{ready['base']}/_control/deliveries", timeout=10).json()
    assert kept[0]["verdicts"]["signature"] == "missing X-Signature"
    process.terminate()
    assert process.wait(LIMIT) == 0


def test_the_media_command_names_the_course_file_and_a_portal_serves_it(start, media):
    command = [sys.executable, "-m", "playground", "media", "--out", str(media)]
    made = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT)
    assert made.stdout.strip() == str(media / "courses.yaml")
    _, ready = start("portal", "--media", str(media))
    objects = requests.get(f"{ready['url']}/_control/objects", timeout=10).json()
    wanted = (media / "long-720.mp4").stat().st_size
    assert objects["test-course/005/720.mp4"]["size"] == wanted


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["portal", "--courses", "none.yaml"], "none.yaml cannot be read"),
        (["portal", "--media", "a", "--courses", "b"], "not allowed with"),
        (["portal", "--port", "many"], "invalid int"),
        ([], "required"),
    ],
)
def test_arguments_that_cannot_be_understood_end_with_two_and_a_reason(tmp_path, arguments, words):
    command = [sys.executable, "-m", "playground", *arguments]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT)
    assert ended.returncode == 2
    assert words in ended.stderr


def test_help_tells_the_whole_fault_script():
    """Fields of a rule, every target, every fault with its fields; and its example is a script."""
    command = [sys.executable, "-m", "playground", "portal", "--help"]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT).stdout
    assert "wrong-content-range" in text
    assert "bytes_per_second=1000000" in text
    assert all(f"\n  {name}" in text for name in ("on ", "do ", "skip=0", "times=1", "ranged=null"))
    assert all(f"  api:{route}" in text for route in (*ROUTES, "unknown"))
    example = text[text.index("  [{") : text.index("}]") + 2]
    assert [parse(one).times for one in json.loads(example)] == [2, None]
