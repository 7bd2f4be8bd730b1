"""Reading the policy file: YAML in which no name stands twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from quantum_exit.policy.model import InvalidPolicyError, Policy, parse_policy_document

_MAX_BYTES: Final = 1_000_000


class UnreadableError(Exception):
    """The file could not be read at all."""


class _Loader(yaml.SafeLoader):
    """Of two equal names YAML would silently take the last; of an alias it would make copies."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(
                None, None, "aliases are not used here: write the values out", None
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for name_node, _ in node.value:
            name = name_node.value if isinstance(name_node, yaml.ScalarNode) else None
            if name is None or name in seen:
                what = (
                    f"{str(name)[:40]!r} stands there twice" if name else "a name that is no text"
                )
                raise yaml.constructor.ConstructorError(None, None, what, name_node.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_policy_file(path: Path) -> Policy:
    """Raises UnreadableError, or InvalidPolicyError for what stands in it."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror}") from None
    if len(raw) > _MAX_BYTES:
        raise InvalidPolicyError([f"policy: larger than {_MAX_BYTES} bytes"])
    try:
        document = yaml.load(raw, Loader=_Loader)  # noqa: S506 it is a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InvalidPolicyError([f"policy: not YAML: {' '.join(str(error).split())}"]) from None
    return parse_policy_document(document)
