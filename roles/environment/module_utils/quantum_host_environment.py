"""Which environment a host is deployed for, from its files alone, and the keys of one."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ansible.module_utils.quantum_envfile import EnvFileError, parse
from ansible.module_utils.quantum_signed_read import DEFAULT_URLS

SECRETS = Path("/etc/quantum")
# Kept from the first step of a switch to its last: what a run that died in between has begun.
JOURNAL = Path("/var/lib/quantum/environment-switch.json")
BRAIN = "exitbrain-v35.env"
READER = "position-state-brain.env"
TRADER = "intent-executor.env"
ENVIRONMENTS = ("testnet", "mainnet")


class UnreadableError(Exception):
    """A file is not what it should be; the message names it and never a value."""


def other_than(environment: str) -> str:
    return "mainnet" if environment == "testnet" else "testnet"


def variables(path: Path) -> dict[str, str]:
    """What systemd reads from an env file; empty if there is none."""
    try:
        return parse(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        raise UnreadableError(f"{path}: not valid UTF-8") from None
    except EnvFileError as error:
        raise UnreadableError(f"{path}: {error}") from None


def environment_in(found: dict[str, str]) -> str:
    """testnet or mainnet by the flag in a service's variables; empty if it says neither."""
    flag = found.get("BINANCE_TESTNET", "").strip().lower()
    return {"true": "testnet", "false": "mainnet"}.get(flag, "")


def read_journal(path: Path = JOURNAL) -> dict:
    """`left`, `target`, `killed_by_us` and `reason` of a switch under way; empty if none is."""
    try:
        journal = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise UnreadableError(f"{path} cannot be read: remove it if nothing is under way") from None
    names = {journal.get("left"), journal.get("target")} if isinstance(journal, dict) else set()
    if names != set(ENVIRONMENTS):
        raise UnreadableError(f"{path} names no two environments: remove it")
    return journal


def write_journal(journal: dict, path: Path = JOURNAL) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(journal, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def deployed_for(secrets: Path = SECRETS, journal: Path = JOURNAL) -> str:
    """The environment whose account the host was last trading on; empty on a bare host."""
    left = read_journal(journal).get("left")
    return left or environment_in(variables(secrets / BRAIN))


def is_switching(environment: str, secrets: Path = SECRETS, journal: Path = JOURNAL) -> bool:
    """Whether a deployment for `environment` moves the host, or ends a move that was cut off."""
    return bool(read_journal(journal)) or deployed_for(secrets, journal) not in ("", environment)


def env_name(file: str, environment: str) -> str:
    """`exitbrain-v35` and testnet -> `exitbrain-testnet.env`, beside `exitbrain-v35.env`."""
    return f"{file.removesuffix('-v35')}-{environment}.env"


def base_name(name: str) -> str:
    """`exitbrain-testnet.env` -> `exitbrain-v35`; empty for a file that is of no environment."""
    for environment in ENVIRONMENTS:
        if name.endswith(f"-{environment}.env"):
            short = name.removesuffix(f"-{environment}.env")
            return "exitbrain-v35" if short == "exitbrain" else short
    return ""


def pair_of(found: dict[str, str]) -> tuple[str, str]:
    """Key and secret in a service's variables; empty words where there are none."""
    return found.get("BINANCE_API_KEY", "").strip(), found.get("BINANCE_API_SECRET", "").strip()


def reader_of(environment: str, secrets: Path = SECRETS) -> tuple[str, str, str]:
    """Address, key and secret with which the host reads, or read, the account of `environment`."""
    found = variables(secrets / READER)
    if environment_in(found) != environment:  # its file has been derived for the other one already
        found = variables(secrets / env_name(READER.removesuffix(".env"), environment))
    address = found.get("BINANCE_BASE_URL", "").strip().rstrip("/")
    return (address or DEFAULT_URLS[environment], *pair_of(found))


def source_pairs(environment: str, given: dict, secrets: Path = SECRETS) -> dict[str, tuple]:
    """The pairs by what they are for (trading, reading) that a deployment would take: those of the
    host's source of truth, those `given` if it has none. Half a pair is none: the credentials role
    names what is missing.
    """
    prefix = f"BINANCE_{environment.upper()}_"
    source = variables(secrets / f"{environment}.env") or {
        f"{prefix}{name}": value for name, value in given.items()
    }
    pairs = {
        kind: (
            source.get(f"{prefix}{words}API_KEY", "").strip(),
            source.get(f"{prefix}{words}SECRET_KEY", "").strip(),
        )
        for kind, words in (("trading", ""), ("reading", "READ_"))
    }
    return {kind: pair for kind, pair in pairs.items() if all(pair)}
