#!/usr/bin/python
"""Compare what a deployment led to with what was there before it (see DOCUMENTATION)."""

from __future__ import annotations

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.quantum_exitctl import (
    BRAIN_ENV,
    KILLED,
    LIVE,
    SHADOW,
    configured_mode,
    kill_file_on,
    prove,
    worse,
)
from ansible.module_utils.quantum_kept_point import forget

DOCUMENTATION = r"""
module: quantum_proof
short_description: Prove that a host is what it was before a deployment, or what was asked for
description:
  - Runs the proofs of the Exit Brain and of the executor, those of the current release. It fails
    when a verdict is worse than it was before.
  - A host that was killed must still be killed. One that somebody killed meanwhile may be.
    Otherwise it is expected to be what was asked for, or what it was, or, at its first
    deployment, what its configuration says.
  - Once it is proven, what C(quantum_safe_point) kept is forgotten.
  - With O(what=mode) it only compares the configured mode with the one before, so that a
    deployment cannot change it by mistake.
options:
  what:
    description: What to compare.
    type: str
    choices: [proof, mode]
    default: proof
  before:
    description: State of the host before (none, unknown, live, shadow, killed).
    type: str
    required: true
  verdicts:
    description: Exit status of each proof before, by its name. Empty if none was run.
    type: dict
    default: {}
  asked:
    description: State that a person asked for (live, shadow); empty for none.
    type: str
    default: ""
  holder:
    description: Id of the deployment whose kept state is forgotten; empty if it has none.
    type: str
    default: ""
  tries:
    description: How often to prove before the verdict counts. An exchange may be slow for once.
    type: int
    default: 3
"""

RETURN = r"""
expect:
  description: What was expected.
  type: str
  returned: always
verdicts:
  description: Exit status of each proof, by its name.
  type: dict
  returned: when it was run
"""

PAUSE_S = 2


def expected(before: str, asked: str, configured: str, killed_meanwhile: bool) -> str:
    """What the proof must find."""
    if before == KILLED or killed_meanwhile:
        return KILLED
    if asked:
        return asked
    return before if before in (LIVE, SHADOW) else configured


def changed_mode(before: str, asked: str, configured: str, why: str) -> str:
    """Why the configuration must not be run; empty if it may."""
    wanted = asked or before
    if wanted not in (LIVE, SHADOW) or configured == wanted:
        return ""
    said = f"{configured} ({why})" if why else configured
    if asked:
        return f"expect={asked} was given, but the configuration says {said}"
    return (
        f"the host is {before}, and its configuration would make it {said}. A deployment does not "
        f"change that by itself: if it is wanted, say -e expect={configured}"
    )


def proven(module: AnsibleModule, expect: str) -> None:
    for attempt in range(module.params["tries"]):
        if attempt:
            time.sleep(PAUSE_S)
        verdicts, report = prove(expect)
        faults = worse(module.params["verdicts"], verdicts)
        if not faults:
            break
    result = {"changed": False, "expect": expect, "verdicts": verdicts}
    if faults:
        told = f"expected {expect}: {'; '.join(faults)}"
        module.fail_json(msg=f"{told}\n{report}", **result)
    if module.params["holder"] and not forget(module.params["holder"], BRAIN_ENV.parent):
        module.warn("another deployment of this host began meanwhile: that one has the last word")
    module.exit_json(**result)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "what": {"type": "str", "choices": ["proof", "mode"], "default": "proof"},
            "before": {"type": "str", "required": True},
            "verdicts": {"type": "dict", "default": {}},
            "asked": {"type": "str", "choices": ["", LIVE, SHADOW], "default": ""},
            "holder": {"type": "str", "default": ""},
            "tries": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    before, asked = module.params["before"], module.params["asked"]
    configured, why = configured_mode()
    expect = expected(before, asked, configured, kill_file_on())
    if module.params["what"] == "mode":
        fault = changed_mode(before, asked, configured, why) if expect != KILLED else ""
        if fault:
            module.fail_json(msg=fault, expect=expect)
        module.exit_json(changed=False, expect=expect)
    if expect not in (LIVE, SHADOW, KILLED):
        module.fail_json(msg=f"the configured mode cannot be read: {why}", expect=expect)
    proven(module, expect)


if __name__ == "__main__":
    main()
