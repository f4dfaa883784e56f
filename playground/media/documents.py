"""Small documents written by hand: PDF, PNG, ZIP, WebVTT.

In: text. Out: the bytes of a valid file, the same every time. No library is worth its weight for
these.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping

LONG_AGO = (2026, 1, 2, 3, 4, 6)


def pdf(title: str, pages: Iterable[str]) -> bytes:
    """A PDF 1.4 with one line of text on each page, in Helvetica."""
    texts = list(pages)
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(texts)))
    bodies = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(texts)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(texts):
        bodies += _pdf_page(5 + 2 * number, f"{title}: {text}")
    return _pdf_file(bodies)


def _pdf_page(contents: int, text: str) -> list[bytes]:
    escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    drawing = f"BT /F1 18 Tf 72 720 Td ({escaped}) Tj ET".encode("latin-1", "replace")
    page = (
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
        f"/Resources << /Font << /F1 3 0 R >> >> /Contents {contents} 0 R >>"
    )
    stream = b"<< /Length %d >>\nstream\n%b\nendstream" % (len(drawing), drawing)
    return [page.encode(), stream]


def _pdf_file(bodies: list[bytes]) -> bytes:
    out, places = io.BytesIO(), []
    out.write(b"%PDF-1.4\n")
    for number, body in enumerate(bodies, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%b\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(bodies) + 1))
    out.write(b"".join(b"%010d 00000 n \n" % place for place in places))
    out.write(b"trailer\n<< /Size %d /Root 1 0 R >>\n" % (len(bodies) + 1))
    out.write(b"startxref\n%d\n%%%%EOF\n" % start)
    return out.getvalue()


def png(width: int, height: int, seed: int = 1) -> bytes:
    """A picture of colour gradients."""
    rows = b"".join(
        b"\0"
        + bytes(part for x in range(width) for part in (x * seed % 256, y * 3 % 256, (x ^ y) % 256))
        for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(name, data) for name, data in parts)


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def archive(files: Mapping[str, str]) -> bytes:
    """A ZIP of text files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name, LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, text)
    return out.getvalue()


def vtt(lines: Iterable[str]) -> bytes:
    """Captions, one line a second."""
    cues = [
        f"00:00:{at:02}.000 --> 00:00:{at + 1:02}.000\n{line}\n" for at, line in enumerate(lines)
    ]
    return ("WEBVTT\n\n" + "\n".join(cues)).encode()
