"""What a host's own release says of it: its state, its configured mode, its proof."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CURRENT = Path("/opt/quantum/current")
KILL_FILE = Path("/var/lib/quantum/kill_switch")
BRAIN_ENV = Path("/etc/quantum/exitbrain-v35.env")
TIMEOUT_S = 60

NONE, UNKNOWN, LIVE, SHADOW, KILLED = "none", "unknown", "live", "shadow", "killed"
PROOFS = ("exitbrain", "executor")
PASS, PARTIAL, FAIL, NOT_RUN = 0, 1, 2, 3
VERDICTS = {PASS: "PASS", PARTIAL: "PARTIAL", FAIL: "FAIL", NOT_RUN: "could not be run"}

# The mode without its kill switch: that is a matter of its own.
CONFIGURED = """\
import sys
from quantum_exit.envfile import parse
from quantum_exit.exit_mode import KILL_SWITCH_VARIABLE, ExitMode
variables = parse(open(sys.argv[1], encoding="utf-8").read())
variables.pop(KILL_SWITCH_VARIABLE, None)
mode = ExitMode.from_environ(variables)
print(str(mode.state).lower(), "; ".join(mode.why_shadow))
"""


def ask(*words: str) -> tuple[int, str]:
    """Run a program of the current release. A release that cannot answer is NOT_RUN."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8"}
    program = str(CURRENT / "bin" / words[0])
    try:
        done = subprocess.run(
            [program, *words[1:]],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=TIMEOUT_S,
            env=environment,
            cwd="/",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return NOT_RUN, f"{program}: {error}"
    return done.returncode, (done.stdout + done.stderr).strip()


def kill_file_on() -> bool:
    """Whether somebody engaged the switch: `exitctl kill` always writes this place."""
    try:
        return KILL_FILE.read_bytes().strip(b" \n\0") == b"on"
    except OSError:
        return False


def host_state() -> str:
    """none (never deployed), live, shadow, killed, or unknown."""
    if not CURRENT.is_symlink():
        return NONE
    said = ask("exitctl", "status", "--json")[1]
    try:
        document = json.loads(said[said.index("{") : said.rindex("}") + 1])
        return state_of(document)
    except (ValueError, KeyError, TypeError, AttributeError):
        return KILLED if kill_file_on() else UNKNOWN


def state_of(status: dict) -> str:
    """The state in a document of `exitctl status --json`."""
    switch = status["kill_switch"]
    if "redis_error" in status:  # everything blocks then, but nobody has killed it
        on = any(place["state"] == "ON" for place in switch["places"])
        return KILLED if on else UNKNOWN
    if switch["on"]:
        return KILLED
    mode = status["mode"]["state"].lower()
    return mode if mode in (LIVE, SHADOW) else UNKNOWN


def configured_mode() -> tuple[str, str]:
    """live or shadow as the brain's env file says, and what stands against LIVE."""
    code, said = ask("python", "-sP", "-c", CONFIGURED, str(BRAIN_ENV))
    mode, _, why = said.partition(" ")
    return (mode, why) if code == 0 and mode in (LIVE, SHADOW) else (UNKNOWN, said)


def prove(expect: str) -> tuple[dict[str, int], str]:
    """Verdicts of the proofs by name, and their reports.

    The Exit Brain's tells whether the host is what it should be; the executor's sends plans that
    must be denied, and so finds out whether plans are answered at all.
    """

    def run(name: str) -> tuple[int, str]:
        return ask("exitctl", "proof", name, "--expect", expect)

    # Side by side: each mostly starts, and waits for answers.
    with ThreadPoolExecutor(len(PROOFS)) as pool:
        answers = list(pool.map(run, PROOFS))
    verdicts = {
        name: code if code in VERDICTS else NOT_RUN
        for name, (code, _) in zip(PROOFS, answers, strict=True)
    }
    return verdicts, "\n".join(report for _, report in answers)


def works(verdicts: dict[str, int]) -> bool:
    """Whether this is something to go back to."""
    return verdicts.get(PROOFS[0]) in (PASS, PARTIAL)


def worse(before: dict[str, int], after: dict[str, int]) -> list[str]:
    """Proofs whose verdict got worse. Without one before, PARTIAL will do."""
    found = []
    for name, verdict in after.items():
        allowed = before.get(name, PARTIAL)
        if name == PROOFS[0] and allowed not in (PASS, PARTIAL):
            allowed = PARTIAL  # a host that does not work is no success, whatever it was before
        if verdict > allowed:
            was = VERDICTS.get(before.get(name, -1), "not proven")
            found.append(f"proof {name}: {VERDICTS[verdict]}, before: {was}")
    return found
