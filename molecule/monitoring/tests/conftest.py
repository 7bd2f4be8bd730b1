"""What the tests share."""

from __future__ import annotations

import pytest
from stage import Stage
from testinfra.host import Host


@pytest.fixture
def stage(host: Host) -> Stage:
    return Stage(host)
