"""Only a well-formed "off" is off; whatever cannot be read is on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_exit.kill_switch import dump_runtime, parse_runtime, read_file


def test_what_we_write_is_what_we_read() -> None:
    for active in (True, False):
        text = dump_runtime(active=active, by="me", reason="why", at="now", epoch=1.5)
        assert parse_runtime(text).active is active
        assert parse_runtime(text.encode()).active is active
        assert "why" in parse_runtime(text).why


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", "", b"false", b"0", b"off", b"null", b"[]", b'"off"', b"{}", b"{", b"\xff"),
        *(b'{"active":0}', b'{"active":null}', b'{"active":"false"}', b'{"active":"off"}'),
        *(b'{"Active":false}', b'[{"active":false}]', b'{"active":false}x', b"[" * 100_000),
        *(b'{"active":true}', b'{"active":false,"active":true}', b'{"active":[]}'),
    ],
)
def test_everything_but_a_well_formed_off_is_on(value: bytes | str | None) -> None:
    assert parse_runtime(value).active


@given(st.one_of(st.binary(), st.text()))
def test_noise_is_on(value: bytes | str) -> None:
    assert parse_runtime(value).active


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_only_the_boolean_false_is_off(active: object) -> None:
    state = parse_runtime(json.dumps({"active": active}))
    assert state.active is (active is not False)


@pytest.mark.parametrize(
    "content", [b"off", b"off\n", b" off \n", b"off\n\0\0\0", b"off" + b" " * 40]
)
def test_a_file_that_says_off(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "kill_switch"
    path.write_bytes(content)
    assert not read_file(str(path)).active


@pytest.mark.parametrize(
    "content",
    [b"", b"on", b"on\n", b"OFF", b"o", b"offf", b"off on", b"\xff", b"off\noff", b"\0" * 64],
)
def test_a_file_that_says_anything_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "kill_switch"
    path.write_bytes(content)
    assert read_file(str(path)).active


def test_a_file_that_cannot_be_read_is_on(tmp_path: Path) -> None:
    assert read_file(str(tmp_path / "missing")).active
    assert read_file(str(tmp_path)).active
    assert read_file("/proc/self/mem").active


def test_no_file_configured_is_off() -> None:
    assert not read_file("").active
