"""Settings: all faults at once, by name; secrets never shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import env
from contract.env import Reader, Secret
from contract.errors import BadSettings


def faults(*reads: Callable[[Reader], object], **values: str) -> tuple[str, ...]:
    """Return the faults of reading `values` with `reads`."""
    reader = Reader(values)
    for read in reads:
        read(reader)
    return tuple(reader.faults)


# --- faults ---------------------------------------------------------------------------------------
def test_all_faults_are_reported_together_and_by_name() -> None:
    reader = Reader(
        {"W": "many", "D": "soon", "S": "1h,x", "F": "maybe", "C": "blue", "Q": "20 GB", "U": "x"}
    )
    reader.required("R", "it is needed.")
    reader.whole("W", 1)
    reader.seconds("D", 1)
    reader.schedule("S", ())
    reader.flag("F")
    reader.choice("C", ("red", "green"), "red")
    reader.quantity("Q", "1Gi")
    reader.url("U", ("https",))
    with pytest.raises(BadSettings) as caught:
        reader.finish()
    assert len(caught.value.faults) == 8
    for name, fault in zip("RWDSFCQU", caught.value.faults, strict=True):
        assert fault.startswith(f"{name} ")
        assert fault in str(caught.value)


def test_without_faults_finish_is_silent() -> None:
    Reader({}).finish()


def test_a_fault_does_not_repeat_the_value_for_it_may_be_a_secret() -> None:
    reads = (
        lambda r: r.whole("A", 1),
        lambda r: r.url("A", ("redis",)),
        lambda r: r.flag("A"),
        lambda r: r.seconds("A", 1),
        lambda r: r.choice("A", ("x",), "x"),
        lambda r: r.quantity("A", "1Gi"),
        lambda r: r.schedule("A", ()),
    )
    found = faults(*reads, A="hunter2hunter2")
    assert len(found) == len(reads)
    assert "hunter2" not in " ".join(found)


def test_an_empty_setting_counts_as_unset() -> None:
    reader = Reader(dict.fromkeys("TWDSFCQUX", "  "))
    assert reader.text("T", "usual") == "usual"
    assert reader.whole("W", 7) == 7
    assert reader.seconds("D", 7.5) == 7.5
    assert reader.schedule("S", (1.0,)) == (1.0,)
    assert reader.flag("F", True) is True
    assert reader.choice("C", ("a", "b"), "b") == "b"
    assert reader.quantity("Q", "1Gi") == "1Gi"
    assert reader.url("U", ("https",)) == ""
    assert reader.secret("X") is None
    reader.finish()


# --- kinds of values ------------------------------------------------------------------------------
@pytest.mark.parametrize(("text", "number"), [("0", 0), ("5", 5), (" 5 ", 5), ("005", 5)])
def test_a_whole_number_is_read(text: str, number: int) -> None:
    assert Reader({"N": text}).whole("N", 9) == number


@pytest.mark.parametrize("text", ["-1", "1.5", "1e3", "five", "٣", "²", "9" * 5000, "2147483648"])
def test_what_is_no_whole_number_is_a_fault_and_the_default_is_used(text: str) -> None:
    reader = Reader({"N": text})
    assert reader.whole("N", 9) == 9
    assert len(reader.faults) == 1


def test_a_whole_number_has_its_limits() -> None:
    assert faults(lambda r: r.whole("N", 1, least=1), N="0") == (
        "N must be a whole number of at least 1.",
    )
    assert faults(lambda r: r.whole("N", 1, most=65535), N="65536") == (
        "N must be a whole number of at least 0 and at most 65535.",
    )
    assert not faults(lambda r: r.whole("N", 1, most=65535), N="65535")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20", 20),
        ("20s", 20),
        ("20 s", 20),
        ("0", 0),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("10min", 600),
        ("10m", 600),
        ("10 MIN", 600),
        ("7d", 604800),
    ],
)
def test_a_duration_is_read_with_its_unit(text: str, seconds: float) -> None:
    assert Reader({"D": text}).seconds("D", 1) == seconds


@pytest.mark.parametrize("text", ["-5", "5 weeks", "s", "1h30m", "inf", "nan", "9" * 400, "4000d"])
def test_what_is_no_duration_is_a_fault(text: str) -> None:
    """Far beyond a lifetime is one too: neither clocks nor waits take it."""
    reader = Reader({"D": text})
    assert reader.seconds("D", 1.5) == 1.5
    assert len(reader.faults) == 1


def test_a_schedule_is_a_list_of_durations_or_none() -> None:
    reader = Reader({"A": "5min, 30min,2h", "B": "none", "C": "0"})
    assert reader.schedule("A", ()) == (300, 1800, 7200)
    assert reader.schedule("B", (1.0,)) == ()
    assert reader.schedule("C", ()) == (0,)
    reader.finish()


@pytest.mark.parametrize("text", ["5min,", ",", "5min;2h", "never", "1h," + "9" * 400])
def test_what_is_no_schedule_is_a_fault(text: str) -> None:
    assert len(faults(lambda r: r.schedule("S", ()), S=text)) == 1


@pytest.mark.parametrize("text", ["1", "true", "YES", "On"])
def test_a_flag_can_be_set(text: str) -> None:
    assert Reader({"F": text}).flag("F") is True


@pytest.mark.parametrize("text", ["0", "false", "NO", "Off"])
def test_a_flag_can_be_cleared(text: str) -> None:
    assert Reader({"F": text}).flag("F", True) is False


REDIS = ("redis", "rediss", "unix")


@pytest.mark.parametrize(
    "address",
    [
        "redis://localhost",
        "redis://:pass@host:6379/0",
        "rediss://[::1]:6379",
        "unix:///run/redis.sock",
        "unix://run/redis.sock?db=1",
    ],
)
def test_an_address_of_redis_is_taken(address: str) -> None:
    assert Reader({"U": address}).url("U", REDIS) == address
    assert not faults(lambda r: r.url("U", REDIS), U=address)


@pytest.mark.parametrize(
    "address",
    [
        "localhost:6379",
        "http://host",
        "redis:host",
        "redis://",
        "redis:///0",
        "redis://:6379",
        "redis://host:port",
        "redis://host:70000",
        "redis://[::1",
        "unix://",
    ],
)
def test_what_is_no_address_of_redis_is_a_fault(address: str) -> None:
    assert len(faults(lambda r: r.url("U", REDIS), U=address)) == 1


@pytest.mark.parametrize("address", ["https:///hook", "https:hook", "https://:443/", "hook", "//h"])
def test_an_address_without_a_host_is_a_fault(address: str) -> None:
    assert len(faults(lambda r: r.url("U", ("https", "http")), U=address)) == 1


# --- secrets --------------------------------------------------------------------------------------
@given(st.text(min_size=1).filter(str.strip))
def test_every_secret_looks_the_same_however_it_is_shown(text: str) -> None:
    secret = Reader({"S": text}).secret("S")
    assert secret is not None
    assert secret.reveal() == text
    assert {repr(secret), str(secret), f"{secret}", "%s" % secret} == {"Secret(****)"}  # noqa: UP031
    assert repr({"s": [secret]}) == "{'s': [Secret(****)]}"


def test_secrets_can_be_compared_and_asked_whether_they_are_empty() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert not Secret("")


# --- files of the settings folder -----------------------------------------------------------------
def test_files_of_the_settings_folder_overlay_the_environment(tmp_path: Path) -> None:
    (tmp_path / "API_SECRET_KEY").write_text("from the file\n", encoding="utf-8")
    (tmp_path / "PLATFORM_TOKEN").write_bytes(b"windows\r\n")
    values = env.load({"SETTINGS_DIR": str(tmp_path), "API_SECRET_KEY": "old", "QUEUE": "q"})
    assert values["API_SECRET_KEY"] == "from the file"
    assert values["PLATFORM_TOKEN"] == "windows"
    assert values["QUEUE"] == "q"


def test_a_mounted_secret_is_read_through_its_links_and_its_hidden_files_are_not(
    tmp_path: Path,
) -> None:
    """Kubernetes mounts `..data -> ..2026_01_12`, and a link per key into it."""
    hidden = tmp_path / "..2026_01_12"
    hidden.mkdir()
    (hidden / "DATABASE_URL").write_text("sqlite://", encoding="utf-8")
    (tmp_path / "..data").symlink_to(hidden.name)
    (tmp_path / "DATABASE_URL").symlink_to("..data/DATABASE_URL")
    (tmp_path / "README.txt").write_text("not a setting", encoding="utf-8")
    values = env.load({"SETTINGS_DIR": str(tmp_path)})
    assert values == {"SETTINGS_DIR": str(tmp_path), "DATABASE_URL": "sqlite://"}


def test_without_a_settings_folder_the_environment_is_all() -> None:
    assert env.load({"A": "1", "SETTINGS_DIR": ""}) == {"A": "1", "SETTINGS_DIR": ""}


def test_a_settings_folder_that_is_not_there_is_a_fault_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(BadSettings) as caught:
        env.load({"SETTINGS_DIR": str(tmp_path / "none")})
    assert str(tmp_path / "none") in str(caught.value)


def test_a_settings_file_that_is_no_text_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "API_SECRET_KEY").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadSettings, match="SETTINGS_DIR"):
        env.load({"SETTINGS_DIR": str(tmp_path)})
