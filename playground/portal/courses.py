"""Courses as data: what a portal is to serve, said in the words of the platform.

In: nothing. Out: frozen values that tests and course files build. No ids and no URLs here: the
catalogue gives those. Every item may carry a `ref`, the name under which fault scripts and the
ledger know it; without one it is its number in the course, `001` on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from playground.content import Content

EVERYWHERE = frozenset({"stream_urls", "media_sources"})


@dataclass(frozen=True)
class Caption:
    """Subtitles of a video."""

    locale: str
    """As the platform writes it: `en_GB`."""
    content: Content
    source: str = "manual"
    """`auto` for machine-made ones."""


@dataclass(frozen=True)
class Attachment:
    """A supplementary file of a lecture; asset_type: File, SourceCode, Presentation and so on."""

    filename: str
    content: Content
    asset_type: str = "File"


@dataclass(frozen=True)
class Link:
    """A supplementary external link."""

    title: str
    url: str


Supplement = Attachment | Link


@dataclass(frozen=True)
class Video:
    """A lecture that is a plain MP4 in one or more qualities."""

    title: str
    qualities: Mapping[int | str, Content]
    """Height, or an odd label such as `Auto`, to content; the order is that of the answer."""
    captions: tuple[Caption, ...] = ()
    supplements: tuple[Supplement, ...] = ()
    offered: frozenset[str] = EVERYWHERE
    """Where the URLs stand: any of stream_urls, media_sources, download_urls."""
    seconds: int = 0
    token: str | None = None
    """A media_license_token beside plain sources: such an item is not protected."""
    ref: str = ""


@dataclass(frozen=True)
class Segment:
    """One piece of an HLS rendition."""

    content: Content
    seconds: float


@dataclass(frozen=True)
class Key:
    """The AES-128 key of an HLS rendition: 16 bytes and the IV as `0x` and 32 hex digits."""

    content: Content
    iv: str


@dataclass(frozen=True)
class Rendition:
    """One quality of an HLS stream."""

    segments: tuple[Segment, ...]
    bandwidth: int
    key: Key | None = None
    method: str = ""
    """Overrides the METHOD of EXT-X-KEY; `SAMPLE-AES` makes the stream protected."""


@dataclass(frozen=True)
class Hls:
    """A lecture that is served as playlist and segments only."""

    title: str
    renditions: Mapping[int, Rendition]
    captions: tuple[Caption, ...] = ()
    supplements: tuple[Supplement, ...] = ()
    seconds: int = 0
    ref: str = ""


@dataclass(frozen=True)
class Protected:
    """A lecture under DRM: licence token, DASH manifest, no plain source."""

    title: str
    supplements: tuple[Supplement, ...] = ()
    ref: str = ""


@dataclass(frozen=True)
class Article:
    """A lecture of text. `{image:NAME}` in the body becomes the URL of that image, which needs no
    signature.
    """

    title: str
    body: str
    images: Mapping[str, Content] = field(default_factory=dict)
    supplements: tuple[Supplement, ...] = ()
    ref: str = ""


@dataclass(frozen=True)
class Document:
    """A lecture that is one file: asset_type is File, E-Book, Presentation or Audio."""

    title: str
    filename: str
    content: Content
    asset_type: str = "File"
    supplements: tuple[Supplement, ...] = ()
    ref: str = ""


@dataclass(frozen=True)
class Question:
    """One multiple-choice question; correct holds the letters of the right answers."""

    prompt: str
    answers: tuple[str, ...]
    correct: tuple[str, ...]
    explanation: str = ""


@dataclass(frozen=True)
class Coding:
    """A coding exercise: three sets of file name to text."""

    instructions: str
    tests: Mapping[str, str]
    solutions: Mapping[str, str]


@dataclass(frozen=True)
class Quiz:
    """A quiz; an empty one is allowed, the platform has them. type: simple-quiz, practice-test,
    coding-exercise.
    """

    title: str
    assessments: tuple[Question | Coding, ...] = ()
    type: str = "simple-quiz"
    ref: str = ""


@dataclass(frozen=True)
class Practice:
    """An assignment: only its title can be had."""

    title: str
    ref: str = ""


@dataclass(frozen=True)
class RolePlay:
    """A role-play: only its title can be had."""

    title: str
    ref: str = ""


Lecture = Video | Hls | Protected | Article | Document
Item = Lecture | Quiz | Practice | RolePlay


@dataclass(frozen=True)
class Chapter:
    """A heading and its items."""

    title: str
    items: tuple[Item, ...] = ()


@dataclass(frozen=True)
class Course:
    """A course; `items` are those that come before any chapter."""

    slug: str
    title: str = ""
    chapters: tuple[Chapter, ...] = ()
    items: tuple[Item, ...] = ()
    archived: bool = False
    """Listed only with is_archived=true."""
    plan: bool = False
    """Listed among subscription-course-enrollments only."""
