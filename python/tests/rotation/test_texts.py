"""New values in env files and in Redis's ACL file; everything else stays as it was."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_exit.envfile import EnvFileError, parse, quote
from quantum_exit.rotation import acl
from quantum_exit.rotation.errors import RotationError
from quantum_exit.rotation.rebind import rebind

TEXT = """\
# A person's own words
BINANCE_API_KEY=old
; KEY=none

EXIT_EXECUTOR_KILL_SWITCH=true
OTHER="with blanks"
"""


def test_only_the_bound_lines_change() -> None:
    after = rebind(TEXT, {"BINANCE_API_KEY": "new", "ADDED": "1"}, "f.env")
    assert after == TEXT.replace("KEY=old", "KEY=new") + "ADDED=1\n"
    assert rebind(TEXT, {"BINANCE_API_KEY": "old"}, "f.env") == TEXT


@given(st.text(max_size=40))
def test_any_value_is_read_back_or_refused_without_being_shown(value: str) -> None:
    try:
        quote(value)
    except EnvFileError:
        with pytest.raises(RotationError) as refused:
            rebind(TEXT, {"OTHER": value}, "f.env")
        assert len(value) < 4 or value not in str(refused.value)
    else:
        assert parse(rebind(TEXT, {"OTHER": value}, "f.env"))["OTHER"] == value


def test_a_value_over_two_lines_is_not_guessed_at() -> None:
    with pytest.raises(RotationError, match=r"f\.env"):
        rebind("KEY=one\\\ntwo\n", {"KEY": "new"}, "f.env")


ACL = """\
user default off resetpass sanitize-payload ~* &* +@all
user reader on #{old} sanitize-payload resetchannels +get %R~quantum:*
user bridge on #{other} sanitize-payload resetchannels (+xadd ~quantum:stream:apply.plan)
"""


def acl_file(old: str, other: str) -> str:
    """As the deployment writes it."""
    text = ACL.format(old=acl.hashed(old), other=acl.hashed(other))
    revision = hashlib.sha256(text.rstrip("\n").encode()).hexdigest()[:16]
    return f"{text}user revision-{revision} off sanitize-payload resetchannels -@all\n"


def test_two_passwords_side_by_side_and_then_the_file_a_deployment_would_write() -> None:
    text = acl_file("old", "other")
    both = acl.with_hashes(text, {"reader": (acl.hashed("old"), acl.hashed("new"))})
    assert f"user reader on #{acl.hashed('old')} #{acl.hashed('new')} sanitize" in both
    assert acl.revision_of(both) not in ("", acl.revision_of(text))
    assert acl.with_hashes(both, {"reader": (acl.hashed("new"),)}) == acl_file("new", "other")
    assert acl.with_hashes(both, {"reader": (acl.hashed("old"),)}) == text


def test_a_url_keeps_its_address_and_user() -> None:
    url = acl.url_with("redis://reader:old@127.0.0.1:6379/0", "n/e w")
    assert url == "redis://reader:n%2Fe%20w@127.0.0.1:6379/0"
    assert acl.user_of(url) == "reader"
