"""Ed25519 seeds and their public keys, computed by the host's openssl."""

from __future__ import annotations

import re
import secrets
import subprocess

SEED_BYTES = 32
# PKCS #8 of an Ed25519 private key (RFC 8410) is this prefix and the 32 bytes of the seed.
_PKCS8_PREFIX = bytes.fromhex("302e020100300506032b657004220420")


class SigningKeyError(Exception):
    """A seed is not one, or openssl does not work; the message never contains the seed."""


def variable_suffix(source: str) -> str:
    """`exitbrain_v3_5` -> `EXITBRAIN_V3_5`, as in QUANTUM_PUBLIC_KEY_<SOURCE>."""
    return re.sub(r"[^A-Z0-9]", "_", source.upper())


def new_seed() -> str:
    return secrets.token_hex(SEED_BYTES)


def public_key(seed_hex: str) -> str:
    """Return the public key (hex, 32 bytes). The seed goes through a pipe, never an argument."""
    try:
        seed = bytes.fromhex(seed_hex)
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise SigningKeyError(f"a signing key must be {2 * SEED_BYTES} hexadecimal digits")
    command = ["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"]
    try:
        done = subprocess.run(command, input=_PKCS8_PREFIX + seed, capture_output=True, check=True)
    except FileNotFoundError as error:
        raise SigningKeyError("openssl is missing: apt-get install openssl") from error
    except subprocess.CalledProcessError as error:
        raise SigningKeyError(f"openssl pkey ended with {error.returncode}") from None
    return done.stdout[-SEED_BYTES:].hex()
