"""Ed25519 signatures over the flat string messages of our streams.

What is signed: the message's other listed fields that are present, without `sig`, as
lines `name=value\\n` in name order, UTF-8. Values hold no control characters, so the
lines cannot be forged into one another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

INTENT_FIELDS: Final = frozenset(
    {
        "intent_id",
        "symbol",
        "action",
        "side",
        "qty_fraction",
        "quantity",
        "trigger_price",
        "entry_price",
        "mark_price",
        "reason",
        "source",
        "ts_epoch",
    }
)
PLAN_FIELDS: Final = frozenset(
    {
        "plan_id",
        "decision",
        "reason",
        "symbol",
        "side",
        "type",
        "qty",
        "reduceOnly",
        "trigger_price",
        "source",
        "signature",
        "timestamp",
        "action",
        "intent",
    }
)
_HEX_32 = re.compile(r"[0-9a-fA-F]{64}")
_HEX_64 = re.compile(r"[0-9a-fA-F]{128}")


class BadKeyError(ValueError):
    """A key is not 32 bytes of hex. The message never holds the key."""


def canonical_bytes(fields: Mapping[str, str], names: Iterable[str]) -> bytes:
    present = sorted(name for name in names if name in fields)
    return "".join(f"{name}={fields[name]}\n" for name in present).encode()


def env_suffix(source: str) -> str:
    """The `<SOURCE>` of `QUANTUM_PUBLIC_KEY_<SOURCE>`: upper case, other characters as `_`."""
    return re.sub(r"[^A-Z0-9]", "_", source.upper())


def generate_seed() -> str:
    return bytes(SigningKey.generate()).hex()


class Signer:
    """Holds one source's private key."""

    def __init__(self, seed_hex: str) -> None:
        if not _HEX_32.fullmatch(seed_hex):
            raise BadKeyError("a signing key is 64 hex digits (an Ed25519 seed of 32 bytes)")
        self._key = SigningKey(bytes.fromhex(seed_hex))

    def __repr__(self) -> str:
        return "Signer(…)"

    @property
    def public_hex(self) -> str:
        return bytes(self._key.verify_key).hex()

    def sign(self, fields: Mapping[str, str], names: Iterable[str]) -> str:
        return self._key.sign(canonical_bytes(fields, names)).signature.hex()


class Verifier:
    """The public keys of the sources we know."""

    def __init__(self, public_keys_hex: Mapping[str, str]) -> None:
        """`public_keys_hex`: environment suffix of the source -> hex of 32 bytes, or several
        with commas between them: while a source's key is replaced, each of them is good."""
        self._keys = {
            suffix: [_verify_key(suffix, text) for text in texts.split(",")]
            for suffix, texts in public_keys_hex.items()
        }

    def knows(self, source: str) -> bool:
        return env_suffix(source) in self._keys

    def verify(self, source: str, fields: Mapping[str, str], names: Iterable[str]) -> bool:
        """True only for a complete, valid signature of `source` in `fields["sig"]`."""
        sig = fields.get("sig", "")
        if not _HEX_64.fullmatch(sig):
            return False
        try:
            content = canonical_bytes(fields, names)
        except UnicodeEncodeError:
            return False
        keys = self._keys.get(env_suffix(source), [])
        return any(_is_signed(key, content, bytes.fromhex(sig)) for key in keys)


def _verify_key(suffix: str, text: str) -> VerifyKey:
    if not _HEX_32.fullmatch(text):
        raise BadKeyError(f"QUANTUM_PUBLIC_KEY_{suffix} is not 64 hex digits")
    return VerifyKey(bytes.fromhex(text))


def _is_signed(key: VerifyKey, content: bytes, sig: bytes) -> bool:
    try:
        key.verify(content, sig)
    except (BadSignatureError, ValueError):
        return False
    return True
