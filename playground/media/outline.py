"""The sample courses as a course file says them.

In: a function from a file's name to the description of its content. Out: the plain values of a
course file. `test-course` has one item of nearly every kind; `odd-titles` tries file names;
`short-course` is quick; `streaming-course` is HLS only, once clear and once under AES-128.
"""

from collections.abc import Callable
from typing import Any

from playground.media import recipes as r

Json = dict[str, Any]
Describe = Callable[[str], Json]
SEGMENT_SECONDS = 2
ARTICLE = """<h2>How this course works</h2>
<p>Watch, read, then try it yourself.</p>
<p><img src="{image:diagram.png}" alt="A diagram"></p>
<p>More on <a href="https://example.com/">example.com</a>.</p>"""
QUESTION = {
    "prompt": "Which container holds H.264 video here?",
    "answers": ["MP4", "PNG", "PDF"],
    "correct": ["a"],
    "explanation": "The lectures are MP4 files.",
}
SECOND_QUESTION = {
    "prompt": "Which of these are documents?",
    "answers": ["slides.pdf", "listen.mp3", "notes.pdf"],
    "correct": ["a", "c"],
}


def course_file(describe: Describe) -> Json:
    """All sample courses."""
    made = [_test_course(describe), _odd_titles(describe), _short(describe), _streaming(describe)]
    return {"courses": made}


def computed(name: str) -> Json:
    """A content of computed bytes of about the size the real file has."""
    made = r.CLIPS.get(name) or r.TONES.get(name)
    if made:
        return {"seed": name, "size": made.size}
    stream = r.STREAMS.get(name.partition("/")[0])
    size = stream.size * SEGMENT_SECONDS // stream.seconds if stream else len(r.DOCUMENTS[name])
    return {"seed": name, "size": size}


def _test_course(describe: Describe) -> Json:
    chapters = [
        ("Getting started", [
            _video(describe, "Welcome", "welcome", captioned=True),
            _article(describe, "How this course works"),
            _video(describe, "Setting up", "setup", supplements=[
                _attachment(describe, "notes.pdf"),
                {"title": "The project's page", "url": "https://example.com/project"},
            ]),
            _document(describe, "Course notes", "notes.pdf", "E-Book"),
        ]),
        ("The main part", [
            _video(describe, "The long lecture", "long", captioned=True),
            _document(describe, "Listen again", "listen.mp3", "Audio"),
            {"kind": "quiz", "title": "Check yourself", "assessments": [QUESTION, SECOND_QUESTION]},
            _video(describe, "A second lecture", "second", supplements=[
                _attachment(describe, "project.zip", "SourceCode"),
            ]),
            {"kind": "protected", "title": "Protected lecture"},
        ]),
        ("Going on", [
            _document(describe, "Project files", "project.zip", "File"),
            _document(describe, "Slides", "slides.pdf", "Presentation"),
            {"kind": "practice", "title": "Assignment: your own project"},
            {"kind": "role-play", "title": "An interview"},
            _video(describe, "Farewell", "farewell"),
        ]),
    ]  # fmt: skip
    return _course("test-course", "Test course: one of everything", chapters)


def _odd_titles(describe: Describe) -> Json:
    long_title = "A title that goes on and on " * 8
    chapters = [
        ("Überblick: 100 % / naïve?", [
            _video(describe, 'What is "this"? A/B <test> | part 1', "setup"),
            _document(describe, "Déjà vu …", "notes.pdf", "File"),
            _document(describe, "Déjà vu …", "notes.pdf", "File"),
        ]),
        ("日本語の章 🎉", [
            _video(describe, long_title.strip(), "farewell"),
            _article(describe, "CON"),
        ]),
    ]  # fmt: skip
    return _course("odd-titles", "Odd titles", chapters)


def _short(describe: Describe) -> Json:
    chapters = [
        ("Only chapter", [
            _video(describe, "One", "welcome", captioned=True),
            _document(describe, "Two", "listen.m4a", "Audio"),
            _document(describe, "Three", "slides.pdf", "Presentation"),
        ]),
    ]  # fmt: skip
    return _course("short-course", "A short course", chapters)


def _streaming(describe: Describe) -> Json:
    sealed = _stream(describe, "Encrypted stream", "sealed")
    key = {"content": describe("sealed/key.bin"), "iv": f"0x{r.AES_IV}"}
    sealed["renditions"][r.STREAMS["sealed"].height]["key"] = key
    items = [_stream(describe, "Clear stream", "stream"), sealed]
    return _course("streaming-course", "Streams", [("Streams", items)])


def _course(slug: str, title: str, chapters: list[tuple[str, list[Json]]]) -> Json:
    made = [{"title": name, "items": items} for name, items in chapters]
    return {"slug": slug, "title": title, "chapters": made}


def _video(
    describe: Describe,
    title: str,
    name: str,
    *,
    captioned: bool = False,
    supplements: list[Json] | None = None,
) -> Json:
    captions = [
        {"locale": locale, "content": describe(f"captions.{locale}.vtt")}
        for locale in (("en_GB", "de_DE") if captioned else ())
    ]
    return {
        "kind": "video",
        "title": title,
        "qualities": {height: describe(f"{name}-{height}.mp4") for height in (720, 360)},
        "seconds": r.CLIPS[f"{name}-720.mp4"].seconds,
        "captions": captions,
        "supplements": supplements or [],
    }


def _stream(describe: Describe, title: str, name: str) -> Json:
    recipe = r.STREAMS[name]
    segments = [
        {"content": describe(f"{name}/{number:05}.ts"), "seconds": float(SEGMENT_SECONDS)}
        for number in range(recipe.seconds // SEGMENT_SECONDS)
    ]
    rendition = {"segments": segments, "bandwidth": int(recipe.megabits * r.MBIT)}
    return {
        "kind": "hls",
        "title": title,
        "seconds": recipe.seconds,
        "renditions": {recipe.height: rendition},
    }


def _article(describe: Describe, title: str) -> Json:
    images = {"diagram.png": describe("diagram.png")}
    return {"kind": "article", "title": title, "body": ARTICLE, "images": images}


def _document(describe: Describe, title: str, name: str, asset_type: str) -> Json:
    content = describe(name)
    return {
        "kind": "document",
        "title": title,
        "filename": name,
        "content": content,
        "asset_type": asset_type,
    }


def _attachment(describe: Describe, name: str, asset_type: str = "File") -> Json:
    return {"filename": name, "content": describe(name), "asset_type": asset_type}
