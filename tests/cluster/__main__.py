"""`python3 -m tests.cluster <verb>`: the cluster of the tests from the command line.

In: a verb. Out: progress on standard error, results on standard output, exit status 0 or 1.
"""

import argparse
import sys
from collections.abc import Callable

from tests.cluster import bare, cluster
from tests.cluster.check import check
from tests.cluster.commands import ClusterError, say


def _up(*, fresh: bool = False) -> None:
    print(cluster.up(fresh=fresh))


def _fresh() -> None:
    _up(fresh=True)


def _status() -> None:
    print(cluster.status())


def _images() -> None:
    for name, archive in cluster.build_images().items():
        print(f"{name} {archive.stat().st_size / 1e6:.0f} MB {archive}")


def _env() -> None:
    print(f"export KUBECONFIG={cluster.kubeconfig()} PATH={cluster.kubectl().parent}:$PATH")


_VERBS: dict[str, tuple[Callable[[], None], str]] = {
    "build": (bare.build, "install packages and build every program of the cluster"),
    "up": (_up, "a healthy cluster: the running one or a new one; prints its kubeconfig"),
    "down": (cluster.down, "end the cluster and remove what it made"),
    "status": (_status, "what runs and where its logs are"),
    "images": (_images, "build the product's two images and their base"),
    "load": (cluster.load_images, "give the product's images to the cluster, building if needed"),
    "check": (check, "prove that the cluster does what the tests build on"),
    "env": (_env, "shell line that points kubectl at the cluster"),
}


def main() -> int:
    """Run one verb."""
    words = _parser().parse_args()
    verb = _fresh if words.verb == "up" and words.fresh else _VERBS[words.verb][0]
    try:
        verb()
    except ClusterError as error:
        say(f"FAILED: {error}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    lines = "\n".join(f"  {name:8} {text}" for name, (_, text) in _VERBS.items())
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.cluster",
        description=f"The cluster of the tests.\n\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=_VERBS)
    parser.add_argument("--fresh", action="store_true", help="with up: a new cluster in any case")
    return parser


if __name__ == "__main__":
    sys.exit(main())
