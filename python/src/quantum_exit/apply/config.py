"""The Apply Layer's settings, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from quantum_exit.apply.rules import Rules
from quantum_exit.settings import (
    ConfigError,
    exit_owner,
    number_within,
    public_keys,
    redis_url,
)
from quantum_exit.signing import BadKeyError, Verifier, env_suffix

_LIFETIME_S: Final = Decimal(60)
_SHORTEST_LIFETIME_S: Final = Decimal("0.1")
_LONGEST_LIFETIME_S: Final = Decimal(3_600)


@dataclass(frozen=True, slots=True)
class ApplyConfig:
    redis_url: str
    rules: Rules

    @property
    def missing_key(self) -> str:
        """The variable that must hold the owner's public key, if it does not. Without it every
        exit is refused; the service runs and says so."""
        owner = self.rules.owner
        return "" if self.rules.verifier.knows(owner) else f"QUANTUM_PUBLIC_KEY_{env_suffix(owner)}"


def from_environ(environ: Mapping[str, str]) -> ApplyConfig:
    """Raises ConfigError naming the variable."""
    try:
        verifier = Verifier(public_keys(environ))
    except BadKeyError as error:
        raise ConfigError(str(error)) from None
    name = "APPLY_LAYER_INTENT_LIFETIME_S"
    lifetime = number_within(environ, name, _LIFETIME_S, _SHORTEST_LIFETIME_S, _LONGEST_LIFETIME_S)
    return ApplyConfig(redis_url(environ), Rules(exit_owner(environ), verifier, float(lifetime)))
