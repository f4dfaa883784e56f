"""Mount points below a folder: found, and removed before the folder may be deleted.

In: a folder of ours. Out: nothing mounted below it, or an error. Deleting a folder in which a mount
lies would delete what is mounted.
"""

from pathlib import Path

from tests.cluster.commands import ClusterError, run


def below(folder: Path) -> list[str]:
    """Mount points below `folder`, deepest first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    # The kernel writes spaces and the like as octal escapes.
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return sorted((each for each in points if each.startswith(f"{folder}/")), key=len, reverse=True)


def unmount_below(folder: Path) -> None:
    """Unmount everything below `folder`, in use or not."""
    for point in below(folder):
        run(["umount", "--lazy", point], check=False)
    if left := below(folder):
        raise ClusterError(
            f"{left[0]} is still mounted, so {folder} cannot be cleared; unmount it."
        )
