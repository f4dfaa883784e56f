"""Makes the shared suite's plain asserts as talkative as those of a test module."""

import pytest

pytest.register_assert_rewrite("tests.dispatcher.executors.conformance")
