"""Which token speaks for an order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from contract.env import Secret
from contract.errors import AuthExpired, Misconfigured
from contract.job_settings import PlatformSettings
from job_image.sources.tokens import choose
from playground.portal import TOKEN
from tests.job_image.fetch.film import COURSE
from tests.job_image.fetch.order import Order

BARE = PlatformSettings("", None, None, 4, (), 60.0)


@pytest.fixture
def with_file(tmp_path: Path) -> Callable[[str], PlatformSettings]:
    """Settings with a tokens file of that text."""

    def write(text: str) -> PlatformSettings:
        path = tmp_path / "tokens.yaml"
        path.write_text(text)
        return replace(BARE, tokens_file=path)

    return write


def test_the_one_token_serves_every_order() -> None:
    """PLATFORM_TOKEN alone needs no email."""
    settings = replace(BARE, token=Secret("one"))
    assert choose(settings, None).reveal() == choose(settings, "a@b.c").reveal() == "one"


def test_an_account_has_its_own_token(with_file: Callable[[str], PlatformSettings]) -> None:
    """Emails are compared without regard to case and spaces."""
    settings = with_file("Ann@Example.com: ann\nbob@example.com: bob\ndefault: all\n")
    assert choose(settings, " ann@example.COM").reveal() == "ann"
    assert choose(settings, "eve@example.com").reveal() == "all"
    assert choose(settings, None).reveal() == "all"


def test_platform_token_is_the_last_resort(with_file: Callable[[str], PlatformSettings]) -> None:
    """With both settings, the file speaks first."""
    settings = replace(with_file("ann@example.com: ann\n"), token=Secret("one"))
    assert choose(settings, "ann@example.com").reveal() == "ann"
    assert choose(settings, "eve@example.com").reveal() == "one"


def test_an_unknown_account_is_told_the_known_ones_masked(
    with_file: Callable[[str], PlatformSettings],
) -> None:
    """The message helps without giving addresses or tokens away."""
    settings = with_file("ann@example.com: secret-a\nbob@example.org: secret-b\n")
    with pytest.raises(Misconfigured) as caught:
        choose(settings, "eve@example.com")
    text = f"{caught.value.summary} {caught.value.advice}"
    assert "e***@example.com" in text
    assert "a***@example.com, b***@example.org" in text
    assert "secret" not in text and "ann@" not in text


@pytest.mark.parametrize("pasted", ["one\n", " one ", "Bearer one", "Bearer  one\n"])
def test_a_pasted_token_is_understood(pasted: str) -> None:
    """Line ends and the header's first word come along when people copy."""
    assert choose(replace(BARE, token=Secret(pasted)), None).reveal() == "one"


@pytest.mark.parametrize("broken", ["a b", "a\nb", "“one”", "Bearer ", "a\x00"])
def test_a_broken_token_is_a_wrong_setting(broken: str) -> None:
    """What no header can carry ends the run with the setting's name and without the token."""
    with pytest.raises(Misconfigured, match="PLATFORM_TOKEN") as caught:
        choose(replace(BARE, token=Secret(broken)), None)
    assert broken not in caught.value.summary


@pytest.mark.parametrize(
    "text", ["- a\n- b\n", "a: [1]\n", "ann@example.com: secret\n  bad: :\n", "a: 1\n", "\0"]
)
def test_a_bad_file_is_named_and_not_quoted(
    with_file: Callable[[str], PlatformSettings], text: str
) -> None:
    """What is wrong with the file is said without its content."""
    with pytest.raises(Misconfigured, match=r"tokens\.yaml") as caught:
        choose(with_file(text), "ann@example.com")
    assert "secret" not in caught.value.summary


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path that leads nowhere is said with its reason."""
    settings = replace(BARE, tokens_file=tmp_path / "nowhere.yaml")
    with pytest.raises(Misconfigured, match=r"nowhere\.yaml cannot be read \(No such file"):
        choose(settings, None)


def test_the_account_of_the_order_is_used(ordering: Callable[..., Order], tmp_path: Path) -> None:
    """End to end: the order's email picks the token that the platform sees."""
    path = tmp_path / "tokens.yaml"
    path.write_text(f"ann@example.com: {TOKEN}\ndefault: nobody\n")
    order = ordering(COURSE, environ={"PLATFORM_TOKENS_FILE": str(path), "PLATFORM_TOKEN": ""})
    order.wishes = {"email": "ann@example.com"}
    assert order.fetch().files == 1
    order.wishes = {"email": "eve@example.com"}
    with pytest.raises(AuthExpired):
        order.fetch()
