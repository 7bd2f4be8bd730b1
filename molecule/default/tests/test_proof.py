"""The Exit Brain's proof on the host: each check is green, turns red by its fault, and recovers."""

from __future__ import annotations

import pytest
from stage import BRAIN, is_fit, main_pid, outcomes, until
from testinfra.host import Host

DEMO = "/opt/quantum/current/bin/launch quantum_exit.demo"
ENV = "/etc/quantum/exitbrain-v35.env"
EXCHANGE = "quantum-paper-exchange"

# The exchange's books lose the order that we have a result of.
FORGET_ORDERS = """set -a; . /etc/quantum/paper-exchange.env; python3 -c '
import os, urllib.request
token = {"X-Paper-Control": os.environ["PAPER_EXCHANGE_CONTROL_TOKEN"]}
reset = "http://127.0.0.1:8091/paper/reset"
urllib.request.urlopen(urllib.request.Request(reset, method="POST", headers=token))'"""

# The check's key, what breaks it, what mends it.
FAULTS = {
    "service": (f"systemctl stop {BRAIN}", f"systemctl start {BRAIN}"),
    "cycles": (
        f"systemctl kill --signal=SIGSTOP {BRAIN}",
        f"systemctl kill --signal=SIGCONT {BRAIN}",
    ),
    "mode": (
        f"sed -i s/^EXIT_MODE=.*/EXIT_MODE=LEGACY/ {ENV} && systemctl restart {BRAIN}",
        f"sed -i s/^EXIT_MODE=.*/EXIT_MODE=EXIT_BRAIN_V3/ {ENV} && systemctl restart {BRAIN}",
    ),
    "kill_switch": ("exitctl kill --reason molecule", "exitctl resume --reason molecule"),
    "exchange": (f"systemctl stop {EXCHANGE}", f"systemctl start {EXCHANGE}"),
    "history": (FORGET_ORDERS, DEMO),
}


@pytest.fixture
def fit(host: Host) -> Host:
    until("the host is fit", lambda: is_fit(host))
    return host


def test_a_falling_market_closes_a_position_and_the_proof_passes(fit: Host) -> None:
    played = fit.run(DEMO)
    assert played.rc == 0, played.stdout + played.stderr
    proof = fit.run("exitctl proof exitbrain")
    assert proof.rc == 0, proof.stdout
    assert proof.stdout.rstrip().endswith("FINAL VERDICT: ✅ PASS (6/6)")
    assert outcomes(fit)["history"] == "PASS", "not with a real order"
    assert "\x1b[" not in proof.stdout


@pytest.mark.parametrize("key", FAULTS)
def test_check_turns_red_by_its_fault_and_recovers(fit: Host, key: str) -> None:
    breaks, mends = FAULTS[key]
    fit.check_output(breaks)
    try:
        until(f"{key} is red", lambda: outcomes(fit).get(key) == "FAIL", every_s=2)
        assert fit.run("exitctl proof exitbrain").rc in (1, 2)
    finally:
        fit.check_output(mends)
    until("the host is fit again", lambda: is_fit(fit))
    assert outcomes(fit)[key] == "PASS"


@pytest.mark.parametrize("proof", ["executor", "apply", "watch"])
def test_the_other_proofs_pass(fit: Host, proof: str) -> None:
    ended = fit.run(f"exitctl proof {proof}")
    assert ended.rc == 0, ended.stdout


def test_a_frozen_brain_is_ended_and_started_again(fit: Host) -> None:
    frozen = main_pid(fit, BRAIN)
    fit.check_output(f"kill -STOP {frozen}")
    until("the watchdog replaced it", lambda: main_pid(fit, BRAIN) not in (0, frozen))
    until("the host is fit again", lambda: is_fit(fit))
