"""The sample media are what they pretend to be, and are made once."""

import io
import re
import struct
import zipfile
import zlib
from urllib.parse import urljoin

import av
import pytest
import requests

from playground.media import build, documents, recipes
from playground.portal import Portal
from playground.portal.course_file import load


@pytest.mark.parametrize("name", sorted(recipes.CLIPS))
def test_every_lecture_decodes_to_all_its_frames_in_its_size(media, name):
    recipe = recipes.CLIPS[name]
    with av.open(str(media / name)) as clip:
        picture = clip.streams.video[0]
        assert picture.codec_context.name == "h264"
        assert (picture.width, picture.height) == (recipe.height * 16 // 9 // 2 * 2, recipe.height)
        assert clip.streams.audio[0].codec_context.name == "aac"
        assert sum(1 for _ in clip.decode(video=0)) == recipe.seconds * 25


@pytest.mark.parametrize("name", sorted(recipes.CLIPS))
def test_every_lecture_has_its_index_before_its_data(media, name):
    kinds = list(boxes(media / name))
    assert kinds[0] == b"ftyp"
    assert kinds.index(b"moov") < kinds.index(b"mdat")


def boxes(path):
    with path.open("rb") as stream:
        while head := stream.read(8):
            size, kind = struct.unpack(">I4s", head)
            yield kind
            stream.seek(size - 8, 1)


def test_the_pictures_move(media):
    with av.open(str(media / "welcome-360.mp4")) as clip:
        planes = [bytes(frame.planes[0]) for frame in clip.decode(video=0)]
    assert len(set(planes)) == len(planes)


def test_one_lecture_is_large_enough_to_be_interrupted_and_the_rest_is_small(media):
    sizes = {name: (media / name).stat().st_size for name in recipes.CLIPS}
    assert 15_000_000 < sizes["long-720.mp4"] < 25_000_000
    assert 8_000_000 < sizes["second-720.mp4"] < 12_000_000
    assert sum(sizes.values()) < 60_000_000
    for name, recipe in recipes.CLIPS.items():
        assert 0.5 < sizes[name] / recipe.size < 2, name


@pytest.mark.parametrize("name", sorted(recipes.TONES))
def test_every_sound_decodes_to_its_length(media, name):
    recipe = recipes.TONES[name]
    with av.open(str(media / name)) as sound:
        samples = sum(frame.samples for frame in sound.decode(audio=0))
    assert samples / 44_100 == pytest.approx(recipe.seconds, abs=0.1)


@pytest.mark.parametrize("name", sorted(recipes.STREAMS))
def test_the_segments_on_disk_are_those_the_course_file_names(media, name):
    wanted = recipes.STREAMS[name].seconds // 2
    assert len(list((media / name).glob("*.ts"))) == wanted


@pytest.mark.parametrize(("slug_item", "encrypted"), [("001", False), ("002", True)])
def test_a_player_plays_the_streams_from_the_portal(media, slug_item, encrypted):
    """FFmpeg itself follows the playlists, fetches the key and decodes."""
    plan = load(media / build.COURSES_FILE)
    with Portal(plan.courses) as portal:
        index = portal.signed_url(f"streaming-course/{slug_item}/hls/360/index.m3u8")
        assert ("#EXT-X-KEY" in requests.get(index, timeout=10).text) is encrypted
        with av.open(index, options={"allowed_extensions": "ALL"}) as stream:
            assert sum(1 for _ in stream.decode(video=0)) == 8 * 25


def test_an_encrypted_segment_cannot_be_read_without_its_key(media):
    clear, sealed = ((media / name / "00000.ts").read_bytes()[0] for name in ("stream", "sealed"))
    assert clear == 0x47
    assert sealed != 0x47


def test_the_pdf_has_a_table_that_points_at_its_objects():
    data = recipes.DOCUMENTS["slides.pdf"]
    start = int(re.search(rb"startxref\n(\d+)\n%%EOF", data)[1])
    assert data[start:].startswith(b"xref\n")
    places = [int(one) for one in re.findall(rb"(\d{10}) 00000 n", data)]
    for number, place in enumerate(places, 1):
        assert data[place:].startswith(b"%d 0 obj\n" % number)
    assert data.count(b"/Type /Page ") == 5


def test_the_png_has_the_pixels_its_header_promises():
    data = recipes.DOCUMENTS["diagram.png"]
    with av.open(io.BytesIO(data), format="png_pipe") as picture:
        frame = next(picture.decode(video=0))
    assert (frame.width, frame.height) == (320, 180)
    length, kind = struct.unpack(">I4s", data[8:16])
    assert struct.unpack(">I", data[16 + length : 20 + length])[0] == zlib.crc32(
        kind + data[16 : 16 + length]
    )


def test_the_zip_opens_and_holds_its_files():
    with zipfile.ZipFile(io.BytesIO(recipes.DOCUMENTS["project.zip"])) as packed:
        assert packed.testzip() is None
        assert set(packed.namelist()) == set(recipes.CODE)


def test_the_captions_are_webvtt_with_one_cue_a_second():
    lines = documents.vtt(["One", "Two"]).decode().splitlines()
    assert lines[0] == "WEBVTT"
    assert lines[2:4] == ["00:00:00.000 --> 00:00:01.000", "One"]
    assert "00:00:01.000 --> 00:00:02.000" in lines


def test_a_second_build_makes_nothing_again(media):
    before = {path: path.stat().st_mtime_ns for path in media.rglob("*")}
    assert build.build(media) == media / build.COURSES_FILE
    assert {path: path.stat().st_mtime_ns for path in media.rglob("*")} == before


def test_the_portal_serves_every_file_of_the_sample(media):
    plan = load(media / build.COURSES_FILE)
    with Portal(plan.courses) as portal:
        for key in portal.catalogue.objects:
            answer = requests.get(portal.signed_url(key), timeout=10)
            assert answer.status_code == 200, key
            assert len(answer.content) == portal.stored(key).content.size, key
        assert urljoin(portal.url, "/course/test-course/") == portal.course_url("test-course")
