#!/usr/bin/python
"""Derive the services' env files on the host (see DOCUMENTATION)."""

from __future__ import annotations

import contextlib
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
from ansible.module_utils.quantum_envfile import EnvFileError
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
from ansible.module_utils.quantum_running import environment_of
from ansible.module_utils.quantum_signing_keys import SigningKeyError
from ansible.module_utils.quantum_sources import SeenFiles, Sources

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


class Derivation:
    """The files as they should be, of what is on the host."""

    def __init__(self, parameters: dict, check_mode: bool) -> None:
        self._parameters = parameters
        self._directory = Path(parameters["directory"])
        self.files = SeenFiles()
        self.sources = Sources(self.files, parameters, check_mode)
        self.chosen: dict[str, list[str]] = {}

    def plan(self) -> None:
        """Note the files that must be replaced. Raises before anything is written."""
        unknown = sorted(set(self._parameters["extra"]) - set(self._parameters["files"]))
        if unknown:
            known = ", ".join(self._parameters["files"])
            raise DerivationError(f"credentials_extra: no file {unknown[0]}; there are {known}")
        told = str(self.sources.path)
        source = self.sources.exchange()
        check_flags(source, told, self._testnet)
        pairs = exchange_pairs(source, told, self.sources.prefix)
        signing = self.sources.signing()
        passwords = self.sources.passwords()
        network = network_variables(self._testnet, self._parameters["base_url"])
        arriving, several = self._environments()
        for name, service in self._parameters["files"].items():
            path = self._directory / f"{name}.env"
            before = self._derived(path)
            redis = ""
            if service["redis_user"]:
                address, redis_path = self._parameters["redis_address"], self.sources.redis_path
                redis = redis_url(passwords, str(redis_path), service["redis_user"], address)
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
            self.files.replace(path, before, after, text_of(after, told))

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
            self.files.replace(path, self._derived(path), variables, text_of(variables, told))
        chosen = [f"{file}.env", env_name(file, self._environment)]
        self.chosen.update(dict.fromkeys(self._parameters["units"][file], chosen))

    def _derived(self, path: Path) -> dict[str, str] | None:
        try:
            return self.files.read(path)
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
    derivation = Derivation(module.params, module.check_mode)
    files = derivation.files
    loose: list[Path] = []
    try:
        if not directory.is_dir() and not module.check_mode:
            raise DerivationError(f"{directory} is missing: the host role makes it, mode 0700")
        with exclusive(directory) if directory.is_dir() else contextlib.nullcontext():
            derivation.plan()
            loose = [
                path
                for path in directory.glob("*.env")
                if path.name not in files.texts and not is_private(path)
            ]
            if not module.check_mode:
                # Writing takes a while: an operator may engage the kill switch by sed meanwhile.
                replace_all(directory, files.texts, files.check_nobody_edited)
                for path in loose:
                    make_private(path)
    except (DerivationError, EnvFileError, SigningKeyError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    for warning in derivation.sources.warnings:
        module.warn(warning)
    changed = sorted([*files.texts, *(path.name for path in loose)])
    module.exit_json(
        changed=bool(changed), files=changed, chosen=derivation.chosen, diff=files.diff
    )


if __name__ == "__main__":
    main()
