"""Making the sample files in a folder.

In: a folder. Out: every file of the recipes and `courses.yaml`. A mark written last holds the
fingerprint of recipes and encoder: with the right mark nothing is made again, after a crash or a
change everything is.
"""

import hashlib
from pathlib import Path

import yaml

from playground.media import encode, outline
from playground.media import recipes as r

COURSES_FILE = "courses.yaml"
MARK = ".recipe"
EDITION = "1"
"""Raise it when the way of making changes but the recipes do not."""


def build(folder: Path) -> Path:
    """Make what is needed; returns the course file."""
    mark, wanted = folder / MARK, fingerprint()
    if not mark.exists() or mark.read_text() != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        mark.unlink(missing_ok=True)
        _write_all(folder)
        mark.write_text(wanted)
    return folder / COURSES_FILE


def fingerprint() -> str:
    """A digest of everything the files depend on."""
    parts = (EDITION, encode.ENCODER, r.CLIPS, r.STREAMS, r.TONES, r.DOCUMENTS, r.AES_KEY, r.AES_IV)
    outlined = outline.course_file(_from_folder)
    return hashlib.sha256(repr((parts, outlined)).encode()).hexdigest()


def _write_all(folder: Path) -> None:
    for name, data in r.DOCUMENTS.items():
        (folder / name).write_bytes(data)
    for name, recipe in r.CLIPS.items():
        encode.write_clip(folder / name, _clip(recipe))
    for name, tone in r.TONES.items():
        encode.write_tone(folder / name, encode.Tone(tone.seconds, tone.codec, tone.hertz))
    for name, recipe in r.STREAMS.items():
        aes = encode.Aes(r.AES_KEY, r.AES_IV) if name == "sealed" else None
        encode.write_hls(folder / name, _clip(recipe), aes)
    text = yaml.safe_dump(outline.course_file(_from_folder), allow_unicode=True, sort_keys=False)
    (folder / COURSES_FILE).write_text(text, encoding="utf-8")


def _clip(recipe: r.ClipRecipe) -> encode.Clip:
    rate = int(recipe.megabits * r.MBIT)
    return encode.Clip(recipe.height, recipe.seconds, rate, recipe.pattern, recipe.seed)


def _from_folder(name: str) -> dict[str, str]:
    return {"file": name}
