"""The proofs on a host that works. What turns each check red is in the scenario faults."""

from __future__ import annotations

import pytest
from stage import BRAIN, is_fit, main_pid, outcomes, until
from testinfra.host import Host

DEMO = "/opt/quantum/current/bin/launch quantum_exit.demo"


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


@pytest.mark.parametrize("proof", ["executor", "apply", "watch"])
def test_the_other_proofs_pass(fit: Host, proof: str) -> None:
    ended = fit.run(f"exitctl proof {proof}")
    assert ended.rc == 0, ended.stdout


def test_a_frozen_brain_is_ended_and_started_again(fit: Host) -> None:
    frozen = main_pid(fit, BRAIN)
    fit.check_output(f"kill -STOP {frozen}")
    until("the watchdog replaced it", lambda: main_pid(fit, BRAIN) not in (0, frozen))
    until("the host is fit again", lambda: is_fit(fit))
