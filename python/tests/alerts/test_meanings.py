"""Who is woken by an alert finds what it means."""

from __future__ import annotations

import re

from quantum_exit.alerts.model import AlertType

from ..conftest import REPOSITORY


def test_each_alert_has_a_line_of_its_own() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", (REPOSITORY / "docs" / "ALERTS.md").read_text(), re.M)
    named = [name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)]
    assert sorted(named) == sorted(AlertType)
