"""Small files that get their names together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.errors import Stopped, Temporary
from job_image.sandbox import Sandbox
from job_image.sources.landing import BYTES, FEW, FILES, Landed, Landing
from job_image.sources.manifest import Manifest, Record
from job_image.stop import Stop
from playground.content import Synthetic
from playground.portal import actions
from playground.portal.courses import Chapter, Course, Video
from tests.job_image.fetch.film import whole
from tests.job_image.fetch.order import Order, run_child

Ordering = Callable[..., Order]
FILM = Synthetic("small", 10_000)
COURSE = Course(
    "c", chapters=(Chapter("All", tuple(Video(f"F{n}", {720: FILM}) for n in range(150))),)
)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    sandbox = Sandbox(tmp_path)
    sandbox.prepare()
    return Manifest(sandbox)


def landed(root: Path, number: int, size: int = 10) -> Landed:
    """A small file whose bytes are there."""
    path = root / f"{number}.part"
    path.write_bytes(b"x" * size)
    key = str(number)
    return Landed(str(path), str(root / f"c/{key}.bin"), Record(key, f"c/{key}.bin", size))


@pytest.mark.parametrize("count", [1, FEW + 1, FILES - 1])
def test_files_wait_until_they_are_many_or_it_is_the_end(
    manifest: Manifest, tmp_path: Path, count: int
) -> None:
    """Before, they have neither name nor record; then all have both."""
    landing = Landing(manifest, tmp_path)
    for number in range(count):
        landing.add(landed(tmp_path, number))
    assert not (tmp_path / "c").exists() and manifest.records == {}
    landing.land()
    assert len(list((tmp_path / "c").iterdir())) == len(manifest.records) == count
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.parametrize(("count", "size"), [(FILES, 10), (2, BYTES // 2)])
def test_many_files_or_many_bytes_do_not_wait(
    manifest: Manifest, tmp_path: Path, count: int, size: int
) -> None:
    """What a kill could cost is bounded by number and by bytes."""
    landing = Landing(manifest, tmp_path)
    for number in range(count):
        landing.add(landed(tmp_path, number, size))
    assert len(manifest.records) == count


def test_the_end_tells_of_a_name_that_could_not_be_given(
    manifest: Manifest, tmp_path: Path
) -> None:
    """A file whose thread has long gone on must not be lost in silence."""
    (tmp_path / "c").write_bytes(b"a file in the folder's place")
    landing = Landing(manifest, tmp_path)
    with pytest.raises(Temporary):
        for number in range(FILES):
            landing.add(landed(tmp_path, number))
    with pytest.raises(Temporary, match="refused"):
        landing.land()
    assert manifest.records == {}


def test_killed_as_small_files_get_their_names(ordering: Ordering) -> None:
    """Killed after the names and before the records: no more than two lots are fetched again."""
    order = ordering(COURSE)
    assert run_child(order, COURSE_RUNNER_FAULT="fetch:landed").returncode == -9
    assert len(order.files()) > FEW
    fetched = order.fetch()
    assert fetched.files == 150 and len(order.files()) == 150
    assert all(order.path(name).read_bytes() == whole(FILM) for name in order.files())
    asked = order.portal.ledger.total("cdn:").requests
    assert 150 <= asked <= 150 + 2 * (FILES + 16)
    assert list((order.root / ".state/parts").iterdir()) == []


def test_told_to_stop_nobody_waits_for_the_volume(ordering: Ordering) -> None:
    """A sync may take longer than there is: files that wait for their names are fetched again."""
    films = tuple(Video(f"F{n}", {720: FILM}) for n in range(FEW + 6))
    order = ordering(Course("c", chapters=(Chapter("All", films),)))
    order.portal.faults.add(f"cdn:c/{len(films):03}/720.mp4", actions.StallBody(5_000))
    stopper = threading.Thread(target=_stop_at_the_last, args=(order, len(films)))
    stopper.start()
    with pytest.raises(Stopped):
        order.fetch()
    stopper.join()
    assert order.files() == []
    order.stop = Stop()
    assert order.fetch().files == len(films)
    assert all(order.read(name) == whole(FILM) for name in order.files())


def _stop_at_the_last(order: Order, count: int) -> None:
    order.portal.ledger.wait(
        lambda ledger: ledger.total("cdn:").statuses.get(200) == count, timeout=30
    )
    order.portal.ledger.wait(lambda ledger: ledger.total("cdn:").running == 1, timeout=30)
    order.portal.ledger.wait(lambda ledger: ledger.total("cdn:").stalled == 1, timeout=30)
    order.stop.request()
