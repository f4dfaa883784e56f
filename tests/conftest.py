"""What every test may ask for: the real servers of `tests.services`."""

from tests.services import (  # noqa: F401 - a fixture is found by its name here
    mariadb,
    node,
    postgres,
    rclone,
    redis7,
    redis62,
    valkey9,
)
