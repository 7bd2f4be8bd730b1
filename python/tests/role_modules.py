"""Ansible modules of the roles, loaded from their files as a test needs them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any


def load(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
