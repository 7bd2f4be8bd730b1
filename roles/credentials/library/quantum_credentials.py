#!/usr/bin/python
"""Derive the services' env files on the host (see DOCUMENTATION)."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.quantum_derivation import (
    DEPLOYED_FOR,
    DerivationError,
    as_text,
    check_flags,
    derive,
    exchange_pairs,
    hold_safe,
    identity_in,
    keep_control_token,
    keep_kill_switch,
    kill_switch_active,
    network_variables,
    redis_url,
    text_of,
)
from ansible.module_utils.quantum_envfile import EnvFileError, parse, render
from ansible.module_utils.quantum_host_environment import (
    ENVIRONMENTS,
    env_name,
    environment_in,
    other_than,
)
from ansible.module_utils.quantum_private_files import (
    exclusive,
    is_private,
    make_private,
    replace_all,
)
from ansible.module_utils.quantum_signing_keys import (
    SigningKeyError,
    new_seed,
    public_key,
    variable_suffix,
)

DOCUMENTATION = r"""
module: quantum_credentials
short_description: Derive the services' env files from the credentials on the host
description:
  - Runs on the host and reads, makes and writes every secret there. None is in its result, in its
    diff or in an error; a diff names variables, never values.
  - Makes the source of truth only where it is absent. After that a person changes it, or the
    rotation does.
  - Either every file is derived and replaced, or none is touched.
  - An active kill switch in a derived file stays active. If the running brain was started with
    it on and the file has been edited to off, nothing is done. Restarting the brain is up to
    the person who edited.
  - A host that has been deployed for both environments has a file of each for every unit, with
    its keys there, beside the unit's own file. The one of the environment that is left is made
    of what the units ran with. Which one counts is chosen by drop-ins.
  - On a host that comes from the other environment the mode is SHADOW, whatever the variables
    say, until a deployment is told C(-e expect=live).
options:
  directory:
    description: Directory of the files, readable by root alone.
    type: path
    default: /etc/quantum
  environment:
    description: Which exchange the credentials are for. Names the source file and its variables.
    type: str
    choices: [testnet, mainnet]
    required: true
  paper_keys:
    description: Make random keys when the source is absent, for a paper exchange.
    type: bool
    default: false
  api_key:
    description: Key to make an absent source with.
    type: str
  api_secret:
    description: Secret to make an absent source with.
    type: str
  read_api_key:
    description: Key of the pair that may only read.
    type: str
  read_api_secret:
    description: Secret of the pair that may only read.
    type: str
  base_url:
    description: Where the exchange is. Empty leaves it to the services, by the environment.
    type: str
    default: ""
  redis_address:
    description: Host and port of Redis as the services reach it.
    type: str
    default: 127.0.0.1:6379
  files:
    description: For each file (name without C(.env)), what its service needs.
    type: dict
    required: true
  extra:
    description: More variables for a file, by the file's name.
    type: dict
    default: {}
  secrets:
    description:
      - Still more variables for a file, by the file's name, that nobody may see. An empty one is
        left out.
    type: dict
    default: {}
  units:
    description: The units that read a file, by the file's name. These get files of an environment.
    type: dict
    default: {}
  asked:
    description: What the host shall be afterwards, C(live) or C(shadow); empty if nobody said.
    type: str
    default: ""
  brain:
    description: The file that carries the kill switch, and the unit that is started with it.
    type: dict
    required: true
"""

RETURN = r"""
files:
  description: Names of the files that were, or in check mode would be, replaced.
  type: list
  returned: always
chosen:
  description: >-
    By unit, its own file and that of its environment. Empty on a host that knows one environment.
  type: dict
  returned: always
"""

SIGNING_FILE = "signing.env"
REDIS_FILE = "redis.env"
MADE_BY_US = "Made by the credentials role. Change the values here, then deploy again."
NEVER_BY_HAND = "Made by the credentials role. The seeds exist nowhere else."


def text_at(path: Path) -> str | None:
    """Return a file's text as it stands, None if there is no file."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise EnvFileError(f"{path}: not valid UTF-8") from None


class Deployment:
    """The sources as they are, the files as they should be."""

    def __init__(self, parameters: dict, check_mode: bool) -> None:
        self._parameters = parameters
        self._check_mode = check_mode
        self._directory = Path(parameters["directory"])
        self._source_path = self._directory / f"{parameters['environment']}.env"
        self._prefix = f"BINANCE_{parameters['environment'].upper()}_"
        self.texts: dict[str, str] = {}
        self._seen: dict[Path, str | None] = {}
        self.diff: list[dict[str, str]] = []
        self.chosen: dict[str, list[str]] = {}
        self.warnings: list[str] = []

    def plan(self) -> None:
        """Fill `texts` with the files that must be replaced. Raises before anything is written."""
        unknown = sorted(set(self._parameters["extra"]) - set(self._parameters["files"]))
        if unknown:
            known = ", ".join(self._parameters["files"])
            raise DerivationError(f"credentials_extra: no file {unknown[0]}; there are {known}")
        source = self._source()
        check_flags(source, str(self._source_path), self._testnet)
        pairs = exchange_pairs(source, str(self._source_path), self._prefix)
        signing = self._signing()
        passwords = self._passwords()
        network = network_variables(self._testnet, self._parameters["base_url"])
        arriving, several = self._environments()
        for name, service in self._parameters["files"].items():
            path = self._directory / f"{name}.env"
            before = self._derived(path)
            redis = ""
            if service["redis_user"]:
                redis_path = str(self._directory / REDIS_FILE)
                address = self._parameters["redis_address"]
                redis = redis_url(passwords, redis_path, service["redis_user"], address)
            after = derive(service, pairs, signing, redis, network)
            after.update(self._secrets(name))
            after.update({key: as_text(value) for key, value in self._extra(name).items()})
            keep_kill_switch(after, before or {})
            if service["exchange"] == "serve":
                keep_control_token(after, before or {})
            if name == self._parameters["brain"]["file"]:
                self._refuse_half_released(before or {})
                hold_safe(after, before or {}, arriving, self._parameters["asked"])
            if several and name in self._parameters["units"]:
                after[DEPLOYED_FOR] = self._environment
                self._side_by_side(name, before or {}, after, arriving)
            self._replace(path, before, after, text_of(after, str(self._source_path)))

    @property
    def _environment(self) -> str:
        return self._parameters["environment"]

    @property
    def _testnet(self) -> bool:
        return self._environment == "testnet"

    def _environments(self) -> tuple[bool, bool]:
        """Whether the host comes from the other environment, and whether it knows both."""
        brain = self._directory / f"{self._parameters['brain']['file']}.env"
        arriving = environment_in(self._derived(brain) or {}) == other_than(self._environment)
        names = (env_name(file, e) for file in self._parameters["units"] for e in ENVIRONMENTS)
        return arriving, arriving or any((self._directory / name).exists() for name in names)

    def _side_by_side(
        self, file: str, before: dict[str, str], after: dict[str, str], arriving: bool
    ) -> None:
        """The file of the environment that is chosen and, if it is left just now, of the other."""
        texts = {self._environment: identity_in(after, self._environment)}
        if arriving and before:
            other = other_than(self._environment)
            texts[other] = identity_in(before, other)
        for environment, variables in texts.items():
            path = self._directory / env_name(file, environment)
            told = f"{self._directory}/{environment}.env"
            self._replace(path, self._derived(path), variables, text_of(variables, told))
        chosen = [f"{file}.env", env_name(file, self._environment)]
        self.chosen.update(dict.fromkeys(self._parameters["units"][file], chosen))

    def check_nobody_edited(self) -> None:
        """Raise if a file is not the one that was read: an edit must not get lost."""
        for path, seen in self._seen.items():
            if text_at(path) != seen:
                raise DerivationError(f"{path} was changed meanwhile; nothing done, run it again")

    def _read(self, path: Path) -> dict[str, str] | None:
        """Return a file's variables, None if there is no file. Errors name the file."""
        self._seen[path] = text = text_at(path)
        try:
            return None if text is None else parse(text)
        except EnvFileError as error:
            raise EnvFileError(f"{path}: {error}") from None

    def _source(self) -> dict[str, str]:
        path = self._source_path
        given = {
            f"{self._prefix}{name}": self._parameters[parameter]
            for name, parameter in (
                ("API_KEY", "api_key"),
                ("SECRET_KEY", "api_secret"),
                ("READ_API_KEY", "read_api_key"),
                ("READ_SECRET_KEY", "read_api_secret"),
            )
            if self._parameters[parameter]
        }
        found = self._read(path)
        if found is not None:
            if any(found.get(name, "").strip() != value.strip() for name, value in given.items()):
                self.warnings.append(
                    f"{path} exists and differs from the given keys: it was left as it is. "
                    "Keys are changed by the rotation, or by hand in that file"
                )
            return found
        if not given and self._parameters["paper_keys"]:
            names = ("API_KEY", "SECRET_KEY", "READ_API_KEY", "READ_SECRET_KEY")
            given = {f"{self._prefix}{name}": secrets.token_hex(32) for name in names}
        if not given:
            raise DerivationError(
                f"{path} is missing: write {self._prefix}API_KEY=<key> and "
                f"{self._prefix}SECRET_KEY=<secret> into it, mode 0600, or set "
                "credentials_api_key and credentials_api_secret in a vault"
            )
        exchange_pairs(given, "the role's variables", self._prefix)
        self._replace(path, None, given, render(given, MADE_BY_US))
        return given

    def _signing(self) -> dict[str, str]:
        path = self._directory / SIGNING_FILE
        before = self._read(path)
        keys = dict(before or {})
        sources: set[str] = set()
        for service in self._parameters["files"].values():
            sources.update(service["verifies"], [service["signs"]] if service["signs"] else [])
        for source in sorted(sources):
            suffix = variable_suffix(source)
            seed = keys.setdefault(f"QUANTUM_SIGNING_KEY_{suffix}", new_seed())
            public = "" if self._check_mode and before is None else public_key(seed)
            keys[f"QUANTUM_PUBLIC_KEY_{suffix}"] = public
        if keys != before:
            self._replace(path, before, keys, render(keys, NEVER_BY_HAND))
        return keys

    def _passwords(self) -> dict[str, str]:
        path = self._directory / REDIS_FILE
        passwords = self._read(path)
        if passwords is not None:
            return passwords
        if not self._check_mode:
            raise DerivationError(f"{path} is missing: the redis role makes it")
        users = (service["redis_user"] for service in self._parameters["files"].values())
        return {f"REDIS_PASSWORD_{user.upper()}": "x" for user in users if user}

    def _derived(self, path: Path) -> dict[str, str] | None:
        try:
            return self._read(path)
        except EnvFileError as error:
            # Replacing it could release a kill switch that nobody can read any more.
            raise DerivationError(f"{error}; mend the line, or remove the file") from None

    def _extra(self, name: str) -> dict:
        return self._parameters["extra"].get(name, {})

    def _secrets(self, name: str) -> dict[str, str]:
        given = self._parameters["secrets"].get(name, {})
        return {key: as_text(value) for key, value in given.items() if value not in ("", None)}

    def _refuse_half_released(self, before: dict[str, str]) -> None:
        unit = self._parameters["brain"]["unit"]
        if not kill_switch_active(before) and kill_switch_active(environment_of(unit)):
            raise DerivationError(
                f"the running {unit} was started with its kill switch on, but its env file says "
                "off: a deployment never releases it. Restart the unit by hand to release it, or "
                "write it back as on"
            )

    def _replace(
        self, path: Path, before: dict[str, str] | None, after: dict[str, str], text: str
    ) -> None:
        seen = self._seen.get(path)
        if seen == text and is_private(path):
            return
        self.texts[path.name] = text
        self.diff.append(names_only(path, before or {}, after))


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


def environment_of(unit: str) -> dict[str, str]:
    """Environment that a running unit's main process was started with; empty if none runs."""
    command = ["systemctl", "show", "--property=MainPID", "--value", unit]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        content = Path("/proc", done.stdout.strip() or "0", "environ").read_bytes()
    except OSError:
        return {}
    words = content.decode("utf-8", "replace").split("\0")
    return dict(word.split("=", 1) for word in words if "=" in word)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "default": "/etc/quantum"},
            "environment": {"type": "str", "choices": ["testnet", "mainnet"], "required": True},
            "paper_keys": {"type": "bool", "default": False},
            "api_key": {"type": "str", "no_log": True},
            "api_secret": {"type": "str", "no_log": True},
            "read_api_key": {"type": "str", "no_log": True},
            "read_api_secret": {"type": "str", "no_log": True},
            "base_url": {"type": "str", "default": ""},
            "redis_address": {"type": "str", "default": "127.0.0.1:6379"},
            "files": {"type": "dict", "required": True},
            "extra": {"type": "dict", "default": {}},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "units": {"type": "dict", "default": {}},
            "asked": {"type": "str", "default": ""},
            "brain": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    directory = Path(module.params["directory"])
    deployment = Deployment(module.params, module.check_mode)
    loose: list[Path] = []
    try:
        if not directory.is_dir() and not module.check_mode:
            raise DerivationError(f"{directory} is missing: the host role makes it, mode 0700")
        with exclusive(directory) if directory.is_dir() else contextlib.nullcontext():
            deployment.plan()
            loose = [
                path
                for path in directory.glob("*.env")
                if path.name not in deployment.texts and not is_private(path)
            ]
            if not module.check_mode:
                deployment.check_nobody_edited()
                replace_all(directory, deployment.texts)
                for path in loose:
                    make_private(path)
    except (DerivationError, EnvFileError, SigningKeyError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    for warning in deployment.warnings:
        module.warn(warning)
    changed = sorted([*deployment.texts, *(path.name for path in loose)])
    module.exit_json(
        changed=bool(changed), files=changed, chosen=deployment.chosen, diff=deployment.diff
    )


if __name__ == "__main__":
    main()
