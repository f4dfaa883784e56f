"""What every test may ask for: the real servers of `tests.services`.

Generated examples have no time limit of their own: a machine that is busy elsewhere must not make a
property fail. pytest's own limit still ends what hangs.
"""

import pytest
from hypothesis import HealthCheck, settings

# Asserts of the suite that both executors pass are as talkative as a test module's. Told here, and
# not beside them, because any folder's tests may import them first.
pytest.register_assert_rewrite(
    "tests.dispatcher.executors.bench",
    "tests.dispatcher.executors.conformance_runs",
    "tests.dispatcher.executors.conformance_view",
    "tests.dispatcher.executors.conformance_volumes",
)

from tests.services import (  # noqa: E402, F401 - after the line above; fixtures by their names
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
