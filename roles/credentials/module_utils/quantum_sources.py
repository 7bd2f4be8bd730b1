"""What the env files are derived from: read where it is there, made where it is not."""

from __future__ import annotations

import secrets
from pathlib import Path

from ansible.module_utils.quantum_derivation import DerivationError, exchange_pairs
from ansible.module_utils.quantum_envfile import EnvFileError, parse, render
from ansible.module_utils.quantum_private_files import is_private
from ansible.module_utils.quantum_signing_keys import new_seed, public_key, variable_suffix

SIGNING_FILE = "signing.env"
REDIS_FILE = "redis.env"
MADE_BY_US = "Made by the credentials role. Change the values here, then deploy again."
NEVER_BY_HAND = "Made by the credentials role. The seeds exist nowhere else."


class SeenFiles:
    """Env files as they were seen, and the texts that must replace some of them."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.diff: list[dict[str, str]] = []
        self._seen: dict[Path, str | None] = {}

    def read(self, path: Path) -> dict[str, str] | None:
        """Return a file's variables, None if there is no file. Errors name the file."""
        self._seen[path] = text = text_at(path)
        try:
            return None if text is None else parse(text)
        except EnvFileError as error:
            raise EnvFileError(f"{path}: {error}") from None

    def replace(
        self, path: Path, before: dict[str, str] | None, after: dict[str, str], text: str
    ) -> None:
        """Note the text, unless it is there already and private."""
        if self._seen.get(path) == text and is_private(path):
            return
        self.texts[path.name] = text
        self.diff.append(names_only(path, before or {}, after))

    def check_nobody_edited(self) -> None:
        """Raise if a file is not the one that was read: an edit must not get lost."""
        for path, seen in self._seen.items():
            if text_at(path) != seen:
                raise DerivationError(f"{path} was changed meanwhile; nothing done, run it again")


class Sources:
    """Of the host: keys of the exchange, signing keys, passwords of Redis."""

    def __init__(self, files: SeenFiles, parameters: dict, check_mode: bool) -> None:
        self._files = files
        self._parameters = parameters
        self._check_mode = check_mode
        self._directory = Path(parameters["directory"])
        self.path = self._directory / f"{parameters['environment']}.env"
        self.prefix = f"BINANCE_{parameters['environment'].upper()}_"
        self.redis_path = self._directory / REDIS_FILE
        self.warnings: list[str] = []

    def exchange(self) -> dict[str, str]:
        """The source of truth. Once it is there, only a person or the rotation changes it."""
        given = {
            f"{self.prefix}{name}": self._parameters[parameter]
            for name, parameter in (
                ("API_KEY", "api_key"),
                ("SECRET_KEY", "api_secret"),
                ("READ_API_KEY", "read_api_key"),
                ("READ_SECRET_KEY", "read_api_secret"),
            )
            if self._parameters[parameter]
        }
        found = self._files.read(self.path)
        if found is not None:
            if any(found.get(name, "").strip() != value.strip() for name, value in given.items()):
                self.warnings.append(
                    f"{self.path} exists and differs from the given keys: it was left as it is. "
                    "Keys are changed by the rotation, or by hand in that file"
                )
            return found
        if not given and self._parameters["paper_keys"]:
            names = ("API_KEY", "SECRET_KEY", "READ_API_KEY", "READ_SECRET_KEY")
            given = {f"{self.prefix}{name}": secrets.token_hex(32) for name in names}
        if not given:
            raise DerivationError(
                f"{self.path} is missing: write {self.prefix}API_KEY=<key> and "
                f"{self.prefix}SECRET_KEY=<secret> into it, mode 0600, or set "
                "credentials_api_key and credentials_api_secret in a vault"
            )
        exchange_pairs(given, "the role's variables", self.prefix)
        self._files.replace(self.path, None, given, render(given, MADE_BY_US))
        return given

    def signing(self) -> dict[str, str]:
        """Seeds and public keys of all who sign; new ones for who has none."""
        path = self._directory / SIGNING_FILE
        before = self._files.read(path)
        keys = dict(before or {})
        signers: set[str] = set()
        for service in self._parameters["files"].values():
            signers.update(service["verifies"], [service["signs"]] if service["signs"] else [])
        for signer in sorted(signers):
            suffix = variable_suffix(signer)
            seed = keys.setdefault(f"QUANTUM_SIGNING_KEY_{suffix}", new_seed())
            public = "" if self._check_mode and before is None else public_key(seed)
            keys[f"QUANTUM_PUBLIC_KEY_{suffix}"] = public
        if keys != before:
            self._files.replace(path, before, keys, render(keys, NEVER_BY_HAND))
        return keys

    def passwords(self) -> dict[str, str]:
        """Of the users in Redis; made by the redis role."""
        passwords = self._files.read(self.redis_path)
        if passwords is not None:
            return passwords
        if not self._check_mode:
            raise DerivationError(f"{self.redis_path} is missing: the redis role makes it")
        users = (service["redis_user"] for service in self._parameters["files"].values())
        return {f"REDIS_PASSWORD_{user.upper()}": "x" for user in users if user}


def text_at(path: Path) -> str | None:
    """Return a file's text as it stands, None if there is no file."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise EnvFileError(f"{path}: not valid UTF-8") from None


def names_only(path: Path, before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    """A diff that tells which variables come, go and change, and no value."""

    def lines(own: dict[str, str], other: dict[str, str], mark: str) -> str:
        return "".join(
            f"{name}{f' ({mark} value)' if name in other and other[name] != own[name] else ''}\n"
            for name in own
        )

    return {
        "before_header": str(path),
        "after_header": str(path),
        "before": lines(before, after, "old"),
        "after": lines(after, before, "new"),
    }
