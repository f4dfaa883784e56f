"""What every test may ask for: the real servers of `tests.services`.

Generated examples have no time limit of their own: a machine that is busy elsewhere must not make a
property fail. pytest's own limit still ends what hangs.
"""

from hypothesis import HealthCheck, settings

from tests.services import (  # noqa: F401 - a fixture is found by its name here
    mariadb,
    node,
    postgres,
    rclone,
    redis7,
    redis62,
    valkey9,
)

settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")
