"""What stands in each service's env file: a function of the sources, without any I/O."""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Mapping
from urllib.parse import quote

from ansible.module_utils.quantum_envfile import render
from ansible.module_utils.quantum_signing_keys import variable_suffix

KILL_SWITCH = "EXIT_EXECUTOR_KILL_SWITCH"
KILL_SWITCH_OFF = frozenset({"false", "0", "no", "off", "disabled"})
CONTROL_TOKEN = "PAPER_EXCHANGE_CONTROL_TOKEN"  # noqa: S105 - the name of a variable
_FLAGS = ("BINANCE_TESTNET", "USE_BINANCE_TESTNET")
# Who a service is to the exchange: these come from one file, as a whole.
IDENTITY = (*_FLAGS, "BINANCE_BASE_URL", "BINANCE_API_KEY", "BINANCE_API_SECRET")
# In a service's own file, and in that of its environment. A process in which they differ ends.
DEPLOYED_FOR, ENVIRONMENT = "QUANTUM_DEPLOYED_FOR", "QUANTUM_ENVIRONMENT"
# The brain's file, from a switch of the environment until somebody asks for LIVE.
HELD_SAFE = "QUANTUM_HELD_SAFE"
SAFE_MODE = {
    "EXIT_BRAIN_V35_ENABLED": "false",
    "EXIT_MODE": "LEGACY",
    "EXIT_EXECUTOR_MODE": "SHADOW",
    "EXIT_BRAIN_V3_LIVE_ROLLOUT": "DISABLED",
    "EXIT_LIVE_ROLLOUT_PCT": "0",
    HELD_SAFE: "true",
}
_COMMENT = """\
Derived by the credentials role from {source} and the role's variables.
The next deployment overwrites changes, except an active kill switch."""


class DerivationError(Exception):
    """A source lacks something; the message names it and the mend, never a value."""


def kill_switch_active(variables: Mapping[str, str]) -> bool:
    """Unset is off; so are the off-words. Everything else is active."""
    value = variables.get(KILL_SWITCH)
    return value is not None and value.strip().lower() not in KILL_SWITCH_OFF


def check_flags(source: Mapping[str, str], path: str, testnet: bool) -> None:
    """A source may say which network it is for; it must then be the one that is deployed."""
    said = {name: source[name].strip().lower() for name in _FLAGS if name in source}
    if len(set(said.values())) > 1:
        raise DerivationError(f"{path}: {' and '.join(_FLAGS)} disagree; make them equal")
    wanted = "true" if testnet else "false"
    for name, value in said.items():
        if value != wanted:
            raise DerivationError(f"{path}: {name} must be {wanted} here, or left out")


def exchange_pairs(source: Mapping[str, str], path: str, prefix: str) -> dict[str, tuple[str, str]]:
    """Return the key pairs for `trade` and `read`: (key, secret). Both or none of `read`."""
    trade = (_value(source, path, f"{prefix}API_KEY"), _value(source, path, f"{prefix}SECRET_KEY"))
    read_names = (f"{prefix}READ_API_KEY", f"{prefix}READ_SECRET_KEY")
    if not any(source.get(name, "").strip() for name in read_names):
        return {"trade": trade, "read": trade}
    read = (_value(source, path, read_names[0]), _value(source, path, read_names[1]))
    return {"trade": trade, "read": read}


def _value(source: Mapping[str, str], path: str, name: str) -> str:
    value = source.get(name, "").strip()
    if "\n" in value:
        raise DerivationError(f"{path}: {name} contains a newline: write it on one line")
    if value:
        return value
    if name in source:
        raise DerivationError(f"{path}: {name} is empty; write the value behind the =")
    near = difflib.get_close_matches(name, source, n=1, cutoff=0.8)
    hint = f" (there is a {near[0]})" if near else ""
    raise DerivationError(f"{path}: {name} is missing{hint}; add the line {name}=<value>")


def redis_url(passwords: Mapping[str, str], path: str, user: str, address: str) -> str:
    name = f"REDIS_PASSWORD_{user.upper()}"
    password = _value(passwords, path, name)
    return f"redis://{user}:{quote(password, safe='')}@{address}/0"


def derive(
    service: Mapping,
    pairs: Mapping[str, tuple[str, str]],
    signing: Mapping[str, str],
    redis: str,
    network: Mapping[str, str],
) -> dict[str, str]:
    """Return a service's variables: who it is to the exchange, to Redis and to the others.

    `exchange` of a service is `none`, `read`, `trade` or `serve` (it is the paper exchange).
    """
    variables: dict[str, str] = {"PYTHONUNBUFFERED": "1"}
    if service["exchange"] in pairs:
        variables.update(network)
        key, secret = pairs[service["exchange"]]
        variables.update({"BINANCE_API_KEY": key, "BINANCE_API_SECRET": secret})
    if service["exchange"] == "serve":  # the paper exchange itself checks both pairs
        for prefix, name in (("", "trade"), ("READ_", "read")):
            key, secret = pairs[name]
            variables[f"PAPER_EXCHANGE_{prefix}API_KEY"] = key
            variables[f"PAPER_EXCHANGE_{prefix}SECRET_KEY"] = secret
    if redis:
        variables["REDIS_URL"] = redis
    if service["signs"]:
        seed = signing[f"QUANTUM_SIGNING_KEY_{variable_suffix(service['signs'])}"]
        variables["QUANTUM_SIGNING_KEY"] = seed
    for source in service["verifies"]:
        name = f"QUANTUM_PUBLIC_KEY_{variable_suffix(source)}"
        variables[name] = signing[name]
    variables.update({name: as_text(value) for name, value in service["variables"].items()})
    return variables


def network_variables(testnet: bool, base_url: str) -> dict[str, str]:
    """Which exchange is meant; without a URL the services know it by the network."""
    variables = dict.fromkeys(_FLAGS, "true" if testnet else "false")
    if base_url:
        variables["BINANCE_BASE_URL"] = base_url
    return variables


def as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def keep_kill_switch(variables: dict[str, str], before: Mapping[str, str]) -> None:
    """An active kill switch stays exactly as it was written."""
    if kill_switch_active(before):
        variables[KILL_SWITCH] = before[KILL_SWITCH]


def identity_in(variables: Mapping[str, str], environment: str) -> dict[str, str]:
    """What stands in the file of a service's environment: which one, and who it is there."""
    told = {name: variables[name] for name in IDENTITY if name in variables}
    return {ENVIRONMENT: environment, **told}


def hold_safe(
    variables: dict[str, str], before: Mapping[str, str], arriving: bool, asked: str
) -> None:
    """LIVE was released for the account that was left. For another one it is released anew."""
    if arriving or (before.get(HELD_SAFE) == "true" and asked != "live"):
        variables.update(SAFE_MODE)


def keep_control_token(variables: dict[str, str], before: Mapping[str, str]) -> None:
    """The paper exchange's remote control is for those who can read its env file."""
    variables[CONTROL_TOKEN] = before.get(CONTROL_TOKEN) or secrets.token_hex(32)


def text_of(variables: Mapping[str, str], source: str) -> str:
    return render(variables, _COMMENT.format(source=source))
