"""What each kind of rotation changes: from the files as they are to the files as they shall be."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from quantum_exit.rotation import acl, files
from quantum_exit.rotation.errors import RotationError
from quantum_exit.rotation.exchange_keys import Pair
from quantum_exit.rotation.rebind import rebind, variables
from quantum_exit.signing import BadKeyError, Signer, generate_seed

SIGNING_FILE: Final = "signing.env"
REDIS_FILE: Final = "redis.env"
TRADER: Final = "intent-executor.env"
PAPER_FILE: Final = "paper-exchange.env"
_HALVES: Final = ("API_KEY", "SECRET_KEY")
_SEED: Final = "QUANTUM_SIGNING_KEY_"
_PUBLIC: Final = "QUANTUM_PUBLIC_KEY_"
_PASSWORD: Final = "REDIS_PASSWORD_"  # noqa: S105 - the prefix of a variable
_REPLACED: Final = "REDIS_REPLACED_"
"""Hash of a producer's password before the last one, a colon, and until when it is accepted (Unix
seconds). The redis role knows it too."""


@dataclass(frozen=True)
class Change:
    """Texts by file name, as they are and as they shall be; sources last."""

    old: dict[str, str] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict)

    def bind(self, name: str, text: str, values: Mapping[str, str], path: str) -> None:
        """Nothing is noted of a file that has the values already."""
        after = rebind(text, values, path)
        if after != text:
            self.old[name], self.new[name] = text, after


@dataclass(frozen=True, slots=True)
class Keys:
    """Both pairs of a host. `read` is `trade` where the readers have no pair of their own."""

    trade: Pair
    read: Pair

    @staticmethod
    def trading(found: Mapping[str, str]) -> Pair:
        """The pair in the variables of a service."""
        return _pair(found, TRADER)


class EnvFiles:
    """The env files of one directory, for one environment (testnet or mainnet)."""

    def __init__(self, directory: Path, environment: str) -> None:
        self.directory = directory
        self.source_name = f"{environment}.env"
        self._prefix = f"BINANCE_{environment.upper()}_"
        self._testnet = "true" if environment == "testnet" else "false"

    def text(self, name: str) -> str:
        text = files.read(self.directory / name)
        if text is None:
            raise RotationError(f"{self.directory / name} is missing: deploy first")
        return text

    def values(self, name: str) -> dict[str, str]:
        return variables(self.text(name), str(self.directory / name))

    def derived(self) -> dict[str, str]:
        """Texts of the services' files, by name."""
        sources = {"testnet.env", "mainnet.env", SIGNING_FILE, REDIS_FILE}
        names = sorted(path.name for path in self.directory.glob("[!.]*.env"))
        return {name: self.text(name) for name in names if name not in sources}

    def _is_traders(self, name: str) -> bool:
        """The executor's own file, or the one it has beside it for this environment."""
        of_environment = f"{TRADER.removesuffix('.env')}-{self.source_name}"
        return name in (TRADER, of_environment)

    # Exchange keys

    def keys_in_use(self) -> Keys:
        """What the services' files hold."""
        trader = self.values(TRADER)
        reader = next(
            (
                found
                for name, text in self.derived().items()
                if not self._is_traders(name) and self._is_ours(found := variables(text, name))
            ),
            trader,
        )
        return Keys(_pair(trader, TRADER), _pair(reader, "the readers' env files"))

    def keys_in_source(self, given: Mapping[str, str]) -> tuple[Keys, dict[str, str]]:
        """What the source of truth says once `given` (api_key, api_secret, read_api_key,
        read_api_secret) is written into it, and the variables that are to be written."""
        values: dict[str, str] = {}
        for key, secret, prefix in (
            ("api_key", "api_secret", ""),
            ("read_api_key", "read_api_secret", "READ_"),
        ):
            pair = given.get(key, "").strip(), given.get(secret, "").strip()
            if all(pair):
                names = (f"{self._prefix}{prefix}{name}" for name in _HALVES)
                values |= dict(zip(names, pair, strict=True))
            elif any(pair):
                raise RotationError(f"give both {key} and {secret}, or neither")
        source = {**self.values(self.source_name), **values}
        for name in ("BINANCE_TESTNET", "USE_BINANCE_TESTNET"):
            if source.get(name, self._testnet).strip().lower() != self._testnet:
                path = self.directory / self.source_name
                raise RotationError(f"{path}: {name} must be {self._testnet} here, or left out")
        trade = self._source_pair(source, "")
        has_read = any(source.get(f"{self._prefix}READ_{half}", "").strip() for half in _HALVES)
        return Keys(trade, self._source_pair(source, "READ_") if has_read else trade), values

    def exchange_change(self, keys: Keys, values: Mapping[str, str]) -> Change:
        change = Change()
        for name, text in self.derived().items():
            if not self._is_ours(variables(text, str(self.directory / name))):
                continue
            pair = keys.trade if self._is_traders(name) else keys.read
            bound = {"BINANCE_API_KEY": pair.key, "BINANCE_API_SECRET": pair.secret}
            change.bind(name, text, bound, str(self.directory / name))
        self._bind_paper_exchange(change, keys)
        source = self.text(self.source_name)
        change.bind(self.source_name, source, values, str(self.directory / self.source_name))
        return change

    def _bind_paper_exchange(self, change: Change, keys: Keys) -> None:
        """A sandbox's exchange knows the new keys already; its next start has to know them too."""
        path = self.directory / PAPER_FILE
        text = files.read(path)
        if text is not None:
            pairs = (("", keys.trade), ("READ_", keys.read))
            bound = {f"PAPER_EXCHANGE_{name}API_KEY": pair.key for name, pair in pairs}
            bound |= {f"PAPER_EXCHANGE_{name}SECRET_KEY": pair.secret for name, pair in pairs}
            change.bind(PAPER_FILE, text, bound, str(path))

    def _is_ours(self, found: Mapping[str, str]) -> bool:
        return "BINANCE_API_KEY" in found and found.get("BINANCE_TESTNET") == self._testnet

    def _source_pair(self, source: Mapping[str, str], prefix: str) -> Pair:
        names = [f"{self._prefix}{prefix}{name}" for name in _HALVES]
        for name in names:
            if not source.get(name, "").strip():
                raise RotationError(
                    f"{self.directory / self.source_name}: {name} is missing or empty; "
                    f"add the line {name}=<value>"
                )
        return Pair(source[names[0]].strip(), source[names[1]].strip())

    # Signing keys

    def signing_change(self) -> Change:
        """New seeds for the sources that sign; everybody accepts the new and the old key."""
        source = self.values(SIGNING_FILE)
        suffixes = sorted(n.removeprefix(_SEED) for n in source if n.startswith(_SEED))
        if not suffixes:
            raise RotationError(f"{self.directory / SIGNING_FILE} holds no signing key")
        seeds = {suffix: generate_seed() for suffix in suffixes}
        change = Change()
        values = {f"{_SEED}{suffix}": seed for suffix, seed in seeds.items()}
        values |= {f"{_PUBLIC}{suffix}": public_of(seed) for suffix, seed in seeds.items()}
        old_seeds = {source[f"{_SEED}{suffix}"]: seeds[suffix] for suffix in suffixes}
        for name, text in self.derived().items():
            found = variables(text, str(self.directory / name))
            bound = {
                f"{_PUBLIC}{suffix}": f"{public_of(seed)},{found[f'{_PUBLIC}{suffix}']}"
                for suffix, seed in seeds.items()
                if f"{_PUBLIC}{suffix}" in found
            }
            if found.get("QUANTUM_SIGNING_KEY") in old_seeds:
                bound["QUANTUM_SIGNING_KEY"] = old_seeds[found["QUANTUM_SIGNING_KEY"]]
            change.bind(name, text, bound, str(self.directory / name))
        path = str(self.directory / SIGNING_FILE)
        change.bind(SIGNING_FILE, self.text(SIGNING_FILE), values, path)
        return change

    def narrowing_change(self) -> Change:
        """Everybody accepts the present key alone."""
        source = self.values(SIGNING_FILE)
        change = Change()
        for name, text in self.derived().items():
            found = variables(text, str(self.directory / name))
            bound = {n: v for n, v in source.items() if n.startswith(_PUBLIC) and n in found}
            change.bind(name, text, bound, str(self.directory / name))
        return change

    # Passwords of Redis

    def passwords(self) -> dict[str, str]:
        """By user, in lower case."""
        found = self.values(REDIS_FILE)
        return {
            name.removeprefix(_PASSWORD).lower(): value
            for name, value in found.items()
            if name.startswith(_PASSWORD)
        }

    def redis_change(self) -> tuple[Change, dict[str, str]]:
        """New passwords of the services' users and of maintenance. Producers keep theirs: whoever
        holds it is not on this host."""
        change, new = Change(), {acl.MAINTENANCE: secrets.token_hex(32)}
        for name, text in self.derived().items():
            path = str(self.directory / name)
            url = variables(text, path).get("REDIS_URL")
            if url is None:
                continue
            user = acl.user_of(url)
            password = new.setdefault(user, secrets.token_hex(32))
            change.bind(name, text, {"REDIS_URL": acl.url_with(url, password)}, path)
        values = {f"{_PASSWORD}{user.upper()}": password for user, password in new.items()}
        unknown = sorted(set(new) - set(self.passwords()))
        if unknown:
            raise RotationError(f"{self.directory / REDIS_FILE} has no password of {unknown[0]}")
        change.bind(REDIS_FILE, self.text(REDIS_FILE), values, str(self.directory / REDIS_FILE))
        return change, new

    def replaced(self) -> dict[str, tuple[str, float]]:
        """By producer: hash of its password before, and until when it is accepted."""
        found: dict[str, tuple[str, float]] = {}
        for name, value in self.values(REDIS_FILE).items():
            if name.startswith(_REPLACED):
                digest, _, until = value.partition(":")
                try:
                    found[name.removeprefix(_REPLACED).lower()] = digest, float(until)
                except ValueError:
                    path = self.directory / REDIS_FILE
                    raise RotationError(f"{path}: {name} is broken: remove the line") from None
        return found

    def accepted(self, now_epoch: float) -> dict[str, list[str]]:
        """By user: hashes of the passwords that shall be accepted now."""
        hashes = {user: [acl.hashed(password)] for user, password in self.passwords().items()}
        for user, (digest, until_epoch) in self.replaced().items():
            if user in hashes and until_epoch > now_epoch:
                hashes[user].append(digest)
        return hashes

    def producers(self) -> list[str]:
        """Users of Redis whose password is not this host's own."""
        ours = {acl.MAINTENANCE}
        for name, text in self.derived().items():
            url = variables(text, str(self.directory / name)).get("REDIS_URL")
            ours |= {acl.user_of(url)} if url else set()
        return sorted(set(self.passwords()) - ours)

    def producers_change(self, until_epoch: float) -> tuple[Change, dict[str, str]]:
        """New passwords of the producers; until then those they have are accepted too."""
        old = self.passwords()
        new = {user: secrets.token_hex(32) for user in self.producers()}
        values = {f"{_PASSWORD}{user.upper()}": password for user, password in new.items()}
        values |= {
            f"{_REPLACED}{user.upper()}": f"{acl.hashed(old[user])}:{until_epoch:.0f}"
            for user in new
        }
        change = Change()
        change.bind(REDIS_FILE, self.text(REDIS_FILE), values, str(self.directory / REDIS_FILE))
        return change, new

    def overdue(self, now_epoch: float) -> list[str]:
        """Producers whose password before should not be accepted any more."""
        return sorted(user for user, (_, until) in self.replaced().items() if until <= now_epoch)

    def without_replaced(self, users: Iterable[str] | None = None) -> str:
        """The file of passwords, with what it says of those before left out: of these users, of
        all when none are named."""
        left_out = _REPLACED if users is None else tuple(f"{_REPLACED}{u.upper()}=" for u in users)
        lines = self.text(REDIS_FILE).splitlines(keepends=True)
        return "".join(line for line in lines if not line.lstrip().startswith(left_out))

    def redis_address(self) -> str:
        return self.values("operator.env")["REDIS_URL"].rpartition("@")[2].split("/")[0]


def public_of(seed: str) -> str:
    try:
        return Signer(seed).public_hex
    except BadKeyError as error:
        raise RotationError(str(error)) from None


def _pair(found: Mapping[str, str], path: str) -> Pair:
    key, secret = found.get("BINANCE_API_KEY", ""), found.get("BINANCE_API_SECRET", "")
    if not key or not secret:
        raise RotationError(f"{path}: no key pair in it: deploy first (ansible/site.yml)")
    return Pair(key, secret)
