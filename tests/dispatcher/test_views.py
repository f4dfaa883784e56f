"""Views: read again when something changed, and only then."""

from __future__ import annotations

from dataclasses import replace

from contract import names
from dispatcher.executors import Phase
from dispatcher.record import Stand
from dispatcher.views import Views
from tests.dispatcher.tasks import hold, run, volume


def test_a_view_is_remembered_until_its_holding_changes() -> None:
    views = Views()
    holding = hold(volume(), run())
    (first,) = views.look({holding.name: holding})
    (again,) = views.look({holding.name: hold(volume(), run())})
    assert again is first
    ended = replace(holding, run=run(phase=Phase.FAILED))
    (changed,) = views.look({holding.name: ended})
    assert (first.stand, changed.stand) == (Stand.ACTIVE, Stand.ENDED)


def test_a_changed_mark_is_seen() -> None:
    views = Views()
    holding = hold(volume())
    assert views.look({"a": holding})[0].record.attempt == 1  # type: ignore[union-attr]
    held = volume(attempt="5")
    assert views.look({"a": hold(held)})[0].record.attempt == 5  # type: ignore[union-attr]


def test_what_is_gone_is_forgotten() -> None:
    views = Views()
    holding = hold(volume(), run())
    views.look({holding.name: holding})
    assert not views.look({})


def test_a_run_without_a_volume_has_no_record_and_a_name() -> None:
    (seen,) = Views().look({"course-999": hold(None, run())})
    assert seen.record is None
    assert seen.stand is Stand.STRAY
    assert seen.name == names.object_name("999")


def test_a_snapshot_that_has_not_changed_is_not_looked_through_again() -> None:
    views = Views()
    holding = hold(volume(), run())
    snapshot = {holding.name: holding}
    assert views.look(snapshot) is views.look(snapshot)
    ended = {holding.name: replace(holding, run=run(phase=Phase.FAILED))}
    assert views.look(ended)[0].stand is Stand.ENDED
    assert views.look(snapshot)[0].stand is Stand.ACTIVE
