"""Environment to typed settings, once, at start.

A wrong configuration names the variable and the mend and ends the process with exit 78
(EX_CONFIG), which the units do not restart. Values of secrets never appear in messages.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, NoReturn

from quantum_exit.binance.urls import check_base_url, default_base_url

EXIT_CONFIG: Final = os.EX_CONFIG
DEFAULT_EXIT_OWNER: Final = "exitbrain_v3_5"
MOST_RECV_WINDOW_MS: Final = 59_999
"""The exchange takes no longer one."""
_PUBLIC_KEY_PREFIX: Final = "QUANTUM_PUBLIC_KEY_"


class ConfigError(Exception):
    """A setting is missing or wrong; the text names it and says how to mend it."""


def exit_with_config_error(error: ConfigError) -> NoReturn:
    print(f"configuration error: {error}", file=sys.stderr, flush=True)
    sys.exit(EXIT_CONFIG)


def flag(environ: Mapping[str, str], name: str, default: bool) -> bool:
    """`true` or `false`, any case. Anything else raises ConfigError."""
    text = environ.get(name)
    if text is None:
        return default
    value = {"true": True, "false": False}.get(text.strip().lower())
    if value is None:
        raise ConfigError(f"{name} must be true or false, not {text.strip()[:20]!r}")
    return value


def required(environ: Mapping[str, str], name: str, mend: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        state = "empty" if name in environ else "missing"
        raise ConfigError(f"{name} is {state}: {mend}")
    return value


def positive_number(environ: Mapping[str, str], name: str, default: Decimal) -> Decimal:
    value = optional_number(environ, name)
    if value is None:
        return default
    if value <= 0:
        raise ConfigError(f"{name} must be greater than 0")
    return value


def number_within(
    environ: Mapping[str, str],
    name: str,
    default: Decimal,
    least: Decimal,
    most: Decimal,
    *,
    whole: bool = False,
) -> Decimal:
    """A number in [least, most]. Anything else raises ConfigError with the range."""
    text = environ.get(name)
    if text is None:
        return default
    value = _decimal(text)
    inside = value.is_finite() and least <= value <= most
    if not inside or (whole and value != value.to_integral_value()):
        kind = "a whole number" if whole else "a number"
        raise ConfigError(
            f"{name} must be {kind} from {least} to {most}, not {text.strip()[:20]!r}"
        )
    return value


def _decimal(text: str) -> Decimal:
    """NaN for what is no number."""
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        return Decimal("NaN")


def http_timeout_s(environ: Mapping[str, str], name: str) -> float:
    """Of a service that reads the exchange in a loop, seconds."""
    return float(number_within(environ, name, Decimal(3), Decimal("0.1"), Decimal(10)))


def optional_number(environ: Mapping[str, str], name: str) -> Decimal | None:
    """A limit: unset is None, which means no limit. Empty or misspelt raises ConfigError."""
    text = environ.get(name)
    if text is None:
        return None
    value = _decimal(text)
    if not value.is_finite() or value < 0:
        raise ConfigError(f"{name} must be a number of 0 or more, not {text.strip()[:20]!r}")
    return value


def comma_list(environ: Mapping[str, str], name: str, default: str = "") -> frozenset[str]:
    text = environ.get(name, default)
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def is_testnet(environ: Mapping[str, str]) -> bool:
    """The two flags of the environment must agree; a single one speaks for both.

    Neither set means mainnet would be guessed, so it is refused.
    """
    names = [n for n in ("BINANCE_TESTNET", "USE_BINANCE_TESTNET") if n in environ]
    values = {flag(environ, name, default=False) for name in names}
    if len(values) == 2:
        raise ConfigError(
            "BINANCE_TESTNET and USE_BINANCE_TESTNET disagree: set both to true (test network) "
            "or both to false (real money)"
        )
    if not values:
        raise ConfigError("BINANCE_TESTNET is missing: set it to true or false")
    return values.pop()


def base_url(environ: Mapping[str, str], *, testnet: bool) -> str:
    """BINANCE_BASE_URL, or the default of the network. Plain http only to loopback or,
    named in QUANTUM_SANDBOX_HOSTS (comma list), to a sandbox host."""
    text = environ.get("BINANCE_BASE_URL", "").strip().rstrip("/")
    if not text:
        return default_base_url(testnet=testnet)
    try:
        return check_base_url(text, allow_http_hosts=comma_list(environ, "QUANTUM_SANDBOX_HOSTS"))
    except ValueError as error:
        raise ConfigError(f"BINANCE_BASE_URL: {error}") from None


def check_environment(environ: Mapping[str, str]) -> None:
    """A drop-in that chooses another environment than the unit's own file was deployed for, by
    hand or by a switch that was cut off, carries nobody and no mode to another account."""
    chosen = environ.get("QUANTUM_ENVIRONMENT", "").strip()
    deployed = environ.get("QUANTUM_DEPLOYED_FOR", "").strip()
    if chosen and deployed and chosen != deployed:
        raise ConfigError(
            f"QUANTUM_ENVIRONMENT is {chosen}, but QUANTUM_DEPLOYED_FOR is {deployed}: "
            f"switch with ansible/site.yml -i inventories/{chosen} -e confirm={chosen}"
        )


@dataclass(frozen=True, slots=True, repr=False)
class ExchangeSettings:
    """Where the exchange is and how to sign. `repr` hides the credentials."""

    api_key: str
    api_secret: str
    testnet: bool
    base_url: str

    def __repr__(self) -> str:
        return f"ExchangeSettings(base_url={self.base_url!r}, testnet={self.testnet})"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> ExchangeSettings:
        mend = "put the key pair of the environment into it and restart"
        check_environment(environ)
        testnet = is_testnet(environ)
        return cls(
            api_key=required(environ, "BINANCE_API_KEY", mend),
            api_secret=required(environ, "BINANCE_API_SECRET", mend),
            testnet=testnet,
            base_url=base_url(environ, testnet=testnet),
        )


def redis_url(environ: Mapping[str, str]) -> str:
    url = required(environ, "REDIS_URL", "set it to redis://user:password@127.0.0.1:6379/0")
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ConfigError("REDIS_URL must begin with redis://")
    return url


def exit_owner(environ: Mapping[str, str]) -> str:
    return environ.get("QUANTUM_EXIT_OWNER", "").strip() or DEFAULT_EXIT_OWNER


def public_keys(environ: Mapping[str, str]) -> dict[str, str]:
    """Environment suffix of the source -> public key (hex)."""
    return {
        name.removeprefix(_PUBLIC_KEY_PREFIX): value.strip()
        for name, value in environ.items()
        if name.startswith(_PUBLIC_KEY_PREFIX) and value.strip()
    }


def run_service(main: Callable[[Mapping[str, str]], int]) -> NoReturn:
    """A service's entry: runs `main` with the environment, turns ConfigError into exit 78."""
    try:
        sys.exit(main(os.environ))
    except ConfigError as error:
        exit_with_config_error(error)
