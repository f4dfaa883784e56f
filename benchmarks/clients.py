"""The clients that the download is measured against, each told to do its best, and ours.

Each client is a function from a `Job` to a command and its environment. The others are given the
links ready made; ours has to find them by the API, checks what it got, and makes each file durable.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
SAMPLE = 0.01
"""Seconds between two looks at a client's memory."""


@dataclass(frozen=True)
class Job:
    """What is to be fetched: links for most, a course's address for ours."""

    course_url: str
    token: str
    links: Sequence[str]
    folder: Path
    certificate: Path | None

    @property
    def names(self) -> list[str]:
        """A file name for each link."""
        return [f"{number:05d}.mp4" for number in range(len(self.links))]

    @property
    def beside(self) -> Path:
        """Where a list of links may lie."""
        return self.folder.parent / "links"


@dataclass(frozen=True)
class Cost:
    """Of one run: seconds on the clock, seconds of CPU, MiB at the peak."""

    wall: float
    cpu: float
    memory: float


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
    retry = ["--retry", "10", "--retry-all-errors", "--retry-delay", "1"]
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
    flags = ["-q", "-x16", "-j16", "--file-allocation=none", "--retry-wait=1", "-m10", *trust]
    return ["aria2c", *flags, f"--input-file={job.beside}"], {}


def yt_dlp(job: Job) -> Command:
    """Its native downloader; -N concerns fragments, so files come one after the other."""
    job.beside.write_text("\n".join(job.links))
    trust = {"SSL_CERT_FILE": str(job.certificate)} if job.certificate else {}
    flags = ["-q", "--no-warnings", "-N", "16", "--no-mtime", "--fixup", "never"]
    flags += ["--compat-options", "no-certifi", "--no-cache-dir", "--ignore-config"]
    out = ["-o", "%(autonumber)05d.mp4", "--batch-file", str(job.beside)]
    return [str(BIN / "yt-dlp"), *flags, *out], trust


def rclone(job: Job) -> Command:
    """copyurl with sixteen transfers."""
    with job.beside.open("w", newline="") as file:
        csv.writer(file).writerows(zip(job.links, job.names, strict=True))
    trust = {"SSL_CERT_FILE": str(job.certificate)} if job.certificate else {}
    words = [str(BIN / "rclone"), "copyurl", "--urls", str(job.beside), str(job.folder)]
    return [*words, "--transfers", "16", "--quiet"], {"RCLONE_CONFIG": "/dev/null", **trust}


CLIENTS: Mapping[str, Callable[[Job], Command]] = {
    "ours": ours,
    "curl": curl,
    "curl --parallel": curl_parallel,
    "aria2c": aria2c,
    "yt-dlp": yt_dlp,
    "rclone": rclone,
}


def missing() -> list[str]:
    """Names of the clients that this machine lacks."""
    needs = {"curl": "curl", "curl --parallel": "curl", "aria2c": "aria2c"}
    needs |= {"yt-dlp": str(BIN / "yt-dlp"), "rclone": str(BIN / "rclone")}
    return [name for name, program in needs.items() if not shutil.which(program)]


def run(client: str, job: Job, seconds: float) -> Cost | None:
    """Run a client on core 1 and return what it cost; None when it failed or took too long."""
    command, environment = CLIENTS[client](job)
    log = job.folder.parent / "client.log"
    with log.open("wb") as out:
        began = time.perf_counter()
        process = subprocess.Popen(
            ["taskset", "--cpu-list", "1", *command],
            cwd=job.folder,
            env={**os.environ, **environment},
            stdout=out,
            stderr=out,
        )
        watch = Watch(process.pid)
        guard = threading.Timer(seconds, process.kill)
        guard.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        guard.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        print(f"{client}: exit {process.returncode}: {log.read_text()[-500:]}", flush=True)
        return None
    return Cost(wall, usage.ru_utime + usage.ru_stime, watch.peak())


class Watch:
    """Looks at a process's memory while it runs.

    What the kernel tells of a child afterwards counts its parent's memory before the exec.
    """

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def peak(self) -> float:
        """Return the MiB at the peak, to a hundredth of a second before the end."""
        self._over.set()
        self._thread.join()
        return self._peak / 1024

    def _look(self) -> None:
        while not self._over.wait(SAMPLE):
            try:
                text = self._status.read_text()
            except OSError:
                return
            lines = [line.split()[1] for line in text.splitlines() if line.startswith("VmHWM")]
            if lines and "Name:\ttaskset" not in text:
                self._peak = int(lines[0])
