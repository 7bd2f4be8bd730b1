"""`exitctl proof`: run proofs, print them, raise an alert for a FAIL."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import redis

from quantum_exit.alerts.publish import AlertType, Severity, publish_alert
from quantum_exit.exitctl.context import CommandError, Context
from quantum_exit.proofs import (
    apply,
    deployment,
    executor,
    exitbrain,
    nagios,
    text,
    verdicts,
    watch,
)
from quantum_exit.proofs.model import Expect, Proof, Verdict, overall
from quantum_exit.settings import ConfigError
from quantum_exit.signing import BadKeyError

EXPECT_VARIABLE: Final = "QUANTUM_PROOF_EXPECT"
"""Of the proof by the clock: `shadow` or `live`, as the inventory has the mode."""

Runner = Callable[[redis.Redis, Mapping[str, str], Expect], Proof]

PROOFS: Final[Mapping[str, tuple[str, Runner]]] = {
    "exitbrain": (exitbrain.TITLE, exitbrain.run),
    "executor": (executor.TITLE, executor.run),
    "apply": (apply.TITLE, apply.run),
    "watch": (watch.TITLE, watch.run),
    "host": (deployment.TITLE, deployment.run),
}


def expected(environ: Mapping[str, str]) -> str:
    """Where nobody says it. A host that was deployed in SHADOW is well in SHADOW."""
    word = environ.get(EXPECT_VARIABLE, "").strip().lower()
    return Expect.SHADOW if word == Expect.SHADOW else Expect.LIVE


def run(context: Context, name: str, expect: str, *, nagios_line: bool = False) -> int:
    """`nagios_line`: one line for a monitoring system instead of text; the exit code is the
    same."""
    proofs = (
        run_all(context, expect) if name == "all" else [_run_one(context, name, Expect(expect))]
    )
    verdict = overall(proofs)
    if nagios_line:
        context.tell(nagios.line(proofs))
        return verdict.exit_code
    body = "\n\n".join(text.render(proof) for proof in proofs)
    if len(proofs) == 1:
        context.emit(text.document(proofs[0]), body)
    else:
        document = {
            "verdict": str(verdict),
            "exit_code": verdict.exit_code,
            "proofs": [text.document(proof) for proof in proofs],
        }
        context.emit(document, f"{body}\n\nALL PROOFS: {verdict}")
    return verdict.exit_code


def run_all(context: Context, expect: str) -> list[Proof]:
    return [_run_one(context, each, Expect(expect)) for each in PROOFS]


def _run_one(context: Context, name: str, expect: Expect) -> Proof:
    runner = PROOFS[name][1]
    began, bus = time.monotonic(), None
    try:
        bus = context.redis()
        proof = replace(runner(bus, context.environ, expect), took_s=time.monotonic() - began)
    except (CommandError, ConfigError, BadKeyError, redis.RedisError) as error:
        return _not_run(bus, name, str(error))
    except Exception as error:  # noqa: BLE001 - the unforeseen proves nothing, and ends no other
        traceback.print_exc()
        return _not_run(bus, name, f"{type(error).__name__}: {error}")
    verdicts.record(bus, proof)
    if name == "exitbrain":
        _notice_the_watch(bus)
    if proof.verdict is Verdict.FAIL:
        failed = [test for test in proof.tests if not test.passed]
        details = {
            "proof": name,
            "passed": f"{proof.passed}/{len(proof.tests)}",
            "failed": [test.name for test in failed],
            "evidence": [line for test in failed for line in test.evidence][:20],
        }
        publish_alert(bus, AlertType.PROOF_FAILED, Severity.CRITICAL, details, time.time())
    return proof


def _not_run(bus: redis.Redis | None, name: str, why: str) -> Proof:
    """Whoever watches from outside must not go on seeing the PASS before it."""
    proof = Proof(name, PROOFS[name][0], time.time(), (), error=why)
    if bus is not None:
        verdicts.record(bus, proof)
    return proof


def _notice_the_watch(bus: redis.Redis) -> None:
    """The Exit Brain's proof runs by a timer of its own, and the watch looks after that one."""
    try:
        why = watch.silent_watch(bus, time.time())
    except redis.RedisError:
        return  # the proof has been made; the next one sees the watch
    if why:
        details = {"timer": watch.WATCH_TIMER, "why": f"the watch: {why}"}
        publish_alert(bus, AlertType.LAYER_DOWN, Severity.CRITICAL, details, time.time())
