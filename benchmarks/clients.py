"""The clients that the download is measured against, each told to do its best, and ours.

Each client is a function from a `Job` to a command and its environment. The others are given the
links ready made; ours has to find them by the API, checks what it got, and makes each file durable.
Of a film in pieces, yt-dlp and ffmpeg are given the playlist and make an MP4 as ours does; the
others are given the links of its pieces and leave them as they are.
"""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Job:
    """What is to be fetched: links for most, a course's address for ours."""

    course_url: str
    token: str
    links: Sequence[str]
    folder: Path
    certificate: Path | None
    playlist: str = ""
    """Of a film in pieces, whose links are those of its pieces; else "" ."""

    @property
    def names(self) -> list[str]:
        """A file name for each link."""
        ending = "ts" if self.playlist else "mp4"
        return [f"{number:05d}.{ending}" for number in range(len(self.links))]

    @property
    def beside(self) -> Path:
        """Where a list of links may lie."""
        return self.folder.parent / "links"


Command = tuple[list[str], dict[str, str]]


def ours(job: Job) -> Command:
    """The fetch step, as it is set up without a word."""
    return [sys.executable, "-m", "benchmarks.fetch_only"], {
        "COURSE_URL": job.course_url,
        "PLATFORM_TOKEN": job.token,
        "SANDBOX": str(job.folder),
        "PYTHONPATH": str(ROOT),
        **({"SSL_CERT_FILE": str(job.certificate)} if job.certificate else {}),
    }


def curl(job: Job) -> Command:
    """One after the other on one connection."""
    lines = [
        f'url = "{link}"\noutput = "{name}"'
        for link, name in zip(job.links, job.names, strict=True)
    ]
    job.beside.write_text("\n".join(lines))
    trust = ["--cacert", str(job.certificate)] if job.certificate else []
    retry = ["--retry", "20", "--retry-all-errors", "--retry-delay", "1"]
    words = ["curl", "--silent", "--show-error", "--fail", *trust, *retry]
    return [*words, "--config", str(job.beside)], {}


def curl_parallel(job: Job) -> Command:
    """Sixteen at once."""
    words, values = curl(job)
    return [*words, "--parallel", "--parallel-max", "16"], values


def aria2c(job: Job) -> Command:
    """Sixteen at once, each on up to sixteen connections."""
    lines = [f"{link}\n out={name}" for link, name in zip(job.links, job.names, strict=True)]
    job.beside.write_text("\n".join(lines))
    trust = [f"--ca-certificate={job.certificate}"] if job.certificate else []
    flags = ["-q", "-x16", "-j16", "--file-allocation=none", "--max-tries=0", *trust]
    return ["aria2c", *flags, f"--input-file={job.beside}"], {}


def yt_dlp(job: Job) -> Command:
    """Its native downloader; -N concerns fragments, so files come one after the other."""
    job.beside.write_text("\n".join([job.playlist] if job.playlist else job.links))
    trust = {"SSL_CERT_FILE": str(job.certificate)} if job.certificate else {}
    flags = ["-q", "--no-warnings", "-N", "16", "--no-mtime"]
    flags += ["--compat-options", "no-certifi", "--no-cache-dir", "--ignore-config"]
    flags += [] if job.playlist else ["--fixup", "never"]
    out = ["-o", "%(autonumber)05d.mp4", "--batch-file", str(job.beside)]
    return [str(BIN / "yt-dlp"), *flags, *out], trust


def rclone(job: Job) -> Command:
    """copyurl with sixteen transfers."""
    with job.beside.open("w", newline="") as file:
        csv.writer(file).writerows(zip(job.links, job.names, strict=True))
    trust = {"SSL_CERT_FILE": str(job.certificate)} if job.certificate else {}
    words = [str(BIN / "rclone"), "copyurl", "--urls", str(job.beside), str(job.folder)]
    retry = ["--retries", "20", "--low-level-retries", "20"]
    return [*words, "--transfers", "16", "--quiet", *retry], {"RCLONE_CONFIG": "/dev/null", **trust}


def ffmpeg(job: Job) -> Command:
    """Its HLS reader, which takes one piece after the other and checks no certificate."""
    words = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", job.playlist]
    return [*words, "-codec", "copy", "film.mp4"], {}


CLIENTS: Mapping[str, Callable[[Job], Command]] = {
    "ours": ours,
    "curl --parallel": curl_parallel,
    "aria2c": aria2c,
    "rclone": rclone,
    "yt-dlp": yt_dlp,
    "ffmpeg": ffmpeg,
    "curl": curl,
}
"""Those that are fast most often come first: what they need is the measure of patience."""

FILMERS = ("yt-dlp", "ffmpeg")
"""Those that make a film of its pieces, as ours does."""


def missing() -> list[str]:
    """Names of the clients that this machine lacks."""
    needs = {"curl": "curl", "curl --parallel": "curl", "aria2c": "aria2c", "ffmpeg": "ffmpeg"}
    needs |= {"yt-dlp": str(BIN / "yt-dlp"), "rclone": str(BIN / "rclone")}
    return [name for name, program in needs.items() if not shutil.which(program)]
