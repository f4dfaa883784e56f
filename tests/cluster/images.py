"""Build the product's two images from its ordinary Dockerfiles, once per content.

In: the repository's files that the Dockerfiles copy, and a base image. Out: one archive per image
in the cache, named by the hash of all those inputs. With Docker the users' own `docker build` line
is run; without it, buildah reads the same Dockerfiles. Buildah's chroot isolation, because its
container runtimes refuse mixed cgroup mounts during a build.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import archives, base_image, debian
from tests.cluster.commands import ClusterError, locked, run, say, timed
from tests.cluster.names import (
    DISPATCHER_IMAGE,
    JOB_IMAGE,
    PYTHON_IMAGE,
    REDIS_IMAGE,
    REPOSITORY,
    cache,
)

_PYTHON_OF_DOCKER = "python:3.13-slim"
_RECIPE = "2"
_TRIES = 4


@dataclass(frozen=True, slots=True)
class Image:
    """One image of the product: its name, its Dockerfile, and what the build may see."""

    name: str
    stem: str
    dockerfile: str
    inputs: tuple[str, ...]


_SHARED = ("pyproject.toml", "uv.lock", "README.md", ".dockerignore", "contract")
IMAGES = (
    Image(
        DISPATCHER_IMAGE,
        "dispatcher",
        "dispatcher/Dockerfile",
        (*_SHARED, "dispatcher", "playground"),
    ),
    Image(JOB_IMAGE, "job", "job_image/Dockerfile", (*_SHARED, "job_image")),
)
_REDIS = Image(REDIS_IMAGE, "redis", "tests/cluster/redis/Dockerfile", ("tests/cluster/redis",))


def product_archives(*, docker: bool) -> dict[str, Path]:
    """An archive for each image name, built where the cache has none of this content."""
    with locked(cache() / "images.lock"):
        return {image.name: _archive(image, docker=docker) for image in IMAGES}


def redis_archive(*, docker: bool) -> Path:
    """The archive of the server that the chart's embedded Redis runs in the tests."""
    with locked(cache() / "images.lock"):
        return _archive(_REDIS, docker=docker)


def base_archive(*, docker: bool) -> Path:
    """The archive of the Python base image, under the name PYTHON_IMAGE."""
    if not docker:
        return base_image.archive()
    path = archives.path_of("python", "docker")
    if not path.exists():
        run(["docker", "pull", _PYTHON_OF_DOCKER])
        run(["docker", "tag", _PYTHON_OF_DOCKER, PYTHON_IMAGE])
        _saved_by_docker(PYTHON_IMAGE, path)
    return path


def _files(image: Image) -> Iterator[Path]:
    for name in image.inputs:
        top = REPOSITORY / name
        found = sorted(top.rglob("*")) if top.is_dir() else [top]
        yield from (each for each in found if each.is_file() and "__pycache__" not in each.parts)


def _key(image: Image, *, docker: bool) -> str:
    base = _PYTHON_OF_DOCKER if docker else base_image.key()
    digest = hashlib.sha256(f"{_RECIPE} {image.name} {base}".encode())
    for file in _files(image):
        digest.update(f"\0{file.relative_to(REPOSITORY)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _archive(image: Image, *, docker: bool) -> Path:
    """The archive of the sources as they are; built anew when they change during the build."""
    for _ in range(_TRIES):
        key = _key(image, docker=docker)
        path = archives.path_of(image.stem, key)
        if path.exists():
            return archives.used(path)
        say(f"building {image.name} from {image.dockerfile}")
        with timed(f"built {image.name}"):
            (_build_with_docker if docker else _build_with_buildah)(image, path)
        if _key(image, docker=docker) == key:
            return archives.used(path)
        path.unlink()
    raise ClusterError(
        f"The sources of {image.name} changed during each of {_TRIES} builds; try again later."
    )


def _build_with_docker(image: Image, path: Path) -> None:
    argv = ["docker", "build", "--file", image.dockerfile, "--tag", image.name, "."]
    run(argv, cwd=REPOSITORY, env={"DOCKER_BUILDKIT": "1"})
    _saved_by_docker(image.name, path)


def _saved_by_docker(name: str, path: Path) -> None:
    half = path.with_name(f".{path.name}")
    run(["docker", "save", "--output", half, name])
    half.rename(path)


def _buildah(*words: object) -> str:
    """Buildah with a store of its own in the cache: unchanged layers are not built again."""
    store = cache() / "buildah"
    places = ["--root", store / "root", "--runroot", store / "run", "--storage-driver", "overlay"]
    return run(["buildah", *places, *words], cwd=REPOSITORY)


def _build_with_buildah(image: Image, path: Path) -> None:
    debian.install(*debian.FOR_IMAGES)
    _prepare_store()
    base = _base_in_buildah()
    how = ["--isolation", "chroot", "--network", "host", "--pull-never", "--layers", "--force-rm"]
    what = ["--build-arg", f"PYTHON_IMAGE={base}", "--file", image.dockerfile]
    _buildah("build", *how, *what, "--tag", image.name, ".")
    half = path.with_name(f".{path.name}")
    half.unlink(missing_ok=True)
    _buildah("push", image.name, f"oci-archive:{half}:{image.name}")
    half.rename(path)


@contextmanager
def for_users_buildah(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which buildah, run as users run it, has the base image at hand and need
    not build anew what is built here already. Its configuration is written into `folder`.
    """
    with locked(cache() / "images.lock"):
        debian.install(*debian.FOR_IMAGES)
        _prepare_store()
        base = _base_in_buildah()
        before = _names_in_buildah()
        store = cache() / "buildah"
        config = folder / "storage.conf"
        config.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{store}/root"\nrunroot = "{store}/run"\n'
        )
        yield {
            "BUILDAH_LAYERS": "true",
            "CONTAINERS_STORAGE_CONF": str(config),
            "PYTHON_IMAGE": base,
        }
        for name in sorted(_names_in_buildah() - before):
            _buildah("rmi", name)


def _names_in_buildah() -> set[str]:
    found = _buildah("images", "--format", "{{.Name}}:{{.Tag}}").split()
    return {name for name in found if not name.startswith("<none>")}


def _prepare_store() -> None:
    """Drop what a killed build left, and all layers once the dependencies are others.

    Those layers would never be used again, and buildah itself forgets nothing.
    """
    _buildah("rm", "--all")
    mark = cache() / "buildah" / "dependencies"
    pinned = b"".join((REPOSITORY / name).read_bytes() for name in ("pyproject.toml", "uv.lock"))
    now = f"{base_image.key()} {hashlib.sha256(pinned).hexdigest()}"
    if not mark.exists() or mark.read_text() != now:
        _buildah("rmi", "--all", "--force")
        mark.write_text(now)


def _base_in_buildah() -> str:
    """Buildah's name of the base image; the key is in the tag, so a new recipe is a new image."""
    name = f"{PYTHON_IMAGE}-{base_image.key()}"
    if name not in _names_in_buildah():
        found = _buildah("pull", "--quiet", f"oci-archive:{base_image.archive()}").strip()
        _buildah("tag", found, name)
    return name
