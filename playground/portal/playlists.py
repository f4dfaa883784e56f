"""HLS playlists, made anew at every request because the links in them are signed and expire.

In: a key `<slug>/<ref>/master.m3u8` or `<slug>/<ref>/hls/<height>/index.m3u8`. Out: the playlist.
The master names its renditions, each rendition its segments; all links are relative and carry a
token of their own.
"""

from math import ceil

from playground.content import Content, text
from playground.portal import courses as c
from playground.portal.catalogue import Catalogue, Stored, make_stored
from playground.portal.signing import Form, Signer

MASTER = "master.m3u8"
INDEX = "index.m3u8"
FAIRPLAY = "com.apple.streamingkeydelivery"


class Playlists:
    """Finds and writes the playlists of a catalogue's HLS items."""

    def __init__(self, catalogue: Catalogue, signer: Signer) -> None:
        self._signer = signer
        self._streams = {
            entry.key: entry.thing
            for listing in catalogue.listings
            for entry in listing.entries
            if isinstance(entry.thing, c.Hls)
        }

    def get(self, key: str) -> Stored | None:
        """The playlist under a key as an object, or None when the key names none."""
        content = self._master(key) if key.endswith(f"/{MASTER}") else self._index(key)
        return make_stored(key, content) if content else None

    def _master(self, key: str) -> Content | None:
        stem = key.removesuffix(f"/{MASTER}")
        stream = self._streams.get(stem)
        if stream is None:
            return None
        lines = ["#EXTM3U"]
        for height, one in stream.renditions.items():
            shape = f"BANDWIDTH={one.bandwidth},RESOLUTION={height * 16 // 9}x{height}"
            lines.append(f"#EXT-X-STREAM-INF:{shape}")
            lines.append(self._link(stem, f"hls/{height}/{INDEX}"))
        return text("\n".join(lines) + "\n")

    def _index(self, key: str) -> Content | None:
        stem, _, rest = key.partition("/hls/")
        height, _, name = rest.partition("/")
        stream = self._streams.get(stem)
        if stream is None or name != INDEX or not height.isdigit():
            return None
        rendition = stream.renditions.get(int(height))
        return text(self._listing(f"{stem}/hls/{height}", rendition)) if rendition else None

    def _listing(self, folder: str, rendition: c.Rendition) -> str:
        longest = ceil(max((one.seconds for one in rendition.segments), default=1))
        lines = [
            "#EXTM3U",
            "#EXT-X-VERSION:3",
            f"#EXT-X-TARGETDURATION:{longest}",
            "#EXT-X-MEDIA-SEQUENCE:0",
        ]
        lines += self._key_line(folder, rendition)
        for number, segment in enumerate(rendition.segments):
            lines += [f"#EXTINF:{segment.seconds:.6f},", self._link(folder, f"{number:05}.ts")]
        return "\n".join([*lines, "#EXT-X-ENDLIST", ""])

    def _key_line(self, folder: str, rendition: c.Rendition) -> list[str]:
        if not rendition.key and not rendition.method:
            return []
        start = f"#EXT-X-KEY:METHOD={rendition.method or 'AES-128'}"
        if rendition.key is None:
            return [f'{start},URI="skd://licence",KEYFORMAT="{FAIRPLAY}"']
        link = self._link(folder, "key.bin")
        return [f'{start},URI="{link}",IV={rendition.key.iv}']

    def _link(self, folder: str, name: str) -> str:
        return f"{name}?{self._signer.query(f'/{folder}/{name}', Form.TOKEN)}"
