"""The course the playground's own tests serve: small, with one item of every kind."""

from playground.content import Bytes, Synthetic, text
from playground.portal import courses as c

SIZE = 300_000
COURSE = c.Course(
    "test-course",
    "Test course",
    items=(c.Article("Before any chapter", "<p>Hello</p>"),),
    chapters=(
        c.Chapter(
            "One",
            (
                c.Video(
                    "Welcome",
                    {720: Synthetic("welcome", SIZE), "Auto": Synthetic("auto", 1000)},
                    captions=(
                        c.Caption("en_GB", text("WEBVTT\n")),
                        c.Caption("de_DE", text("WEBVTT\n\n"), source="auto"),
                    ),
                    supplements=(
                        c.Attachment("notes.pdf", Bytes(b"%PDF-")),
                        c.Link("Site", "https://example.com/"),
                    ),
                    seconds=12,
                    ref="welcome",
                ),
                c.Quiz("Check", (c.Question("Why?", ("Because", "Not"), ("a",)),)),
                c.Protected("Secret"),
            ),
        ),
        c.Chapter(
            "Two",
            (
                c.Article("Text", '<img src="{image:a.png}">', images={"a.png": Bytes(b"\x89PNG")}),
                c.Document("Book", "book.pdf", Bytes(b"%PDF-1.4"), "E-Book"),
                c.Practice("Do it"),
                c.RolePlay("Talk"),
                c.Quiz("Nothing to ask"),
            ),
        ),
    ),
)
VIDEO = "test-course/welcome/720.mp4"
