# SPDX-License-Identifier: Apache-2.0
"""The loggers are set back after each scenario, which listens for errors only."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    yield
    structlog.reset_defaults()
