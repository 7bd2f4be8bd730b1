"""Release the kill switch: only while the state of positions is known, and never silently."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import redis
from redis.client import Pipeline

from quantum_exit import keys, kill_switch
from quantum_exit.alerts.model import AlertType, Severity
from quantum_exit.exit_mode import ExitMode
from quantum_exit.exitctl import kill_file, status
from quantum_exit.exitctl.context import CommandError
from quantum_exit.exitctl.control import Act, enqueue, trail
from quantum_exit.proofs import host, observe
from quantum_exit.proofs.observe import Beat, Place, SeenMode
from quantum_exit.values import Unknown

SNAPSHOT_STALE_AFTER_S: Final = 10.0


@dataclass(slots=True)
class ResumeReport:
    released: list[Place]
    """The places that were on (or unreadable) and are off now."""
    still_on: list[Place]
    """What this command cannot release."""
    enables: list[str] = field(default_factory=list)
    """What can happen again from now on."""
    warnings: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        return 1 if self.still_on else 0


def release(client: redis.Redis, environ: Mapping[str, str], act: Act) -> ResumeReport:
    """Set both places to off. Raises CommandError, with nothing released, when it must not."""
    now_epoch = time.time()
    with client.pipeline(transaction=True) as pipe:
        # A kill that comes between two of our writes must not be undone by the second one.
        pipe.watch(keys.KILL_SWITCH)  # type: ignore[no-untyped-call]  # redis-py's own gap
        beats = observe.read_beats(client, now_epoch)
        _refuse_unless_known(client, beats["position_state"], now_epoch)
        places = observe.kill_places(client, environ, beats)
        ours = [place for place in places if place.name != "env"]
        report = ResumeReport(
            released=[place for place in ours if place.blocks],
            still_on=[place for place in places if place.name == "env" and place.blocks],
        )
        report.enables, report.warnings = _consequences(client, beats)
        _set_off(pipe, environ.get("QUANTUM_KILL_FILE", "").strip(), act, report)
    return report


def _refuse_unless_known(client: redis.Redis, beat: Beat | Unknown, now_epoch: float) -> None:
    """A person who resumes must be able to see what will be traded on."""
    unit = "quantum-position-state-brain.service"
    mend = f"see `exitctl status` and `journalctl -u {unit}`; nothing was released"
    why = ""
    if isinstance(beat, Unknown):
        why = beat.why
    elif not beat.fresh:
        why = f"the heartbeat of {unit} is {beat.age_s:.0f} s old"
    elif not beat.ready:
        why = f"{unit} is not ready: {beat.status}"
    else:
        age_s = _snapshot_age_s(client, now_epoch)
        if age_s is None:
            why = f"{keys.SNAPSHOT_STATE} is missing: positions were never read"
        elif not -SNAPSHOT_STALE_AFTER_S <= age_s <= SNAPSHOT_STALE_AFTER_S:
            why = f"positions were read {age_s:.0f} s ago"
    if why:
        raise CommandError(f"refused, the state of positions is not known: {why}; {mend}", 2)


def _snapshot_age_s(client: redis.Redis, now_epoch: float) -> float | None:
    text = observe.read_hash(client, keys.SNAPSHOT_STATE).get("ts_epoch", "")
    try:
        return now_epoch - float(text)
    except ValueError:
        return None


def _consequences(
    client: redis.Redis, beats: Mapping[str, Beat | Unknown]
) -> tuple[list[str], list[str]]:
    enables = ["the executor sends orders again, of the owner and of every allowed producer"]
    enables.append(f"the Exit Brain goes on: {_brain_after(beats['exitbrain'])}")
    if client.exists(keys.MANUAL_LANE_ENABLED):
        enables.append("the manual lane is on and executes again until it runs out")
    enables += [
        f"the delegation {keys.delegation(leave['source'])} holds again"
        for leave in status.delegations(client)
    ]
    warnings = []
    for service, beat in beats.items():
        if isinstance(beat, Unknown):
            warnings.append(f"{service}: {beat.why}")
        elif not (beat.fresh and beat.ready):
            warnings.append(f"{service} is not ready: {beat.status} ({beat.age_s:.0f} s ago)")
    open_plans = client.hlen(keys.EXECUTOR_OPEN)
    if open_plans:
        warnings.append(f"{open_plans} plan(s) are still open, their outcome is being found out")
    holds = sorted(client.scan_iter(match=keys.reconcile_hold("*"), count=1000))
    warnings += [f"{key} holds its symbol" for key in holds]
    return enables, warnings


def _brain_after(beat: Beat | Unknown) -> str:
    """Its mode once no switch is on. Killed, it says nothing of the mode below: its own
    environment does."""
    mode = observe.brain_mode(beat)
    if isinstance(mode, Unknown):
        return mode.why
    if mode.state is not SeenMode.KILLED or isinstance(beat, Unknown):
        return str(mode.state)
    environ = host.process_environ(beat.pid)
    if isinstance(environ, Unknown):
        return "LIVE or SHADOW, as it is configured; see `exitctl status`"
    against = ExitMode.from_environ(environ).why_shadow
    return f"SHADOW ({'; '.join(against)})" if against else "LIVE, its exits are sent again"


def _set_off(pipe: Pipeline, path: str, act: Act, report: ResumeReport) -> None:
    """The file first: if Redis then fails, the switch is still on, and the file is put back."""
    if path:
        try:
            kill_file.write(path, active=False)
        except OSError as error:
            raise CommandError(
                f"{path} could not be written ({error.strerror}): nothing was released; mend the "
                "file system and repeat",
                2,
            ) from None
    document = kill_switch.dump_runtime(
        active=False, by=act.by, reason=act.reason, at=act.at, epoch=act.epoch
    )
    details = {
        "released": [place.name for place in report.released],
        "still_on": [place.name for place in report.still_on],
    }
    try:
        noted = trail(act, AlertType.KILL_SWITCH_RELEASED, Severity.WARNING, details)
        pipe.multi()
        enqueue(pipe, [("SET", keys.KILL_SWITCH, document), *noted])
        pipe.execute()
    except redis.RedisError as error:
        if path:
            kill_file.write(path, active=True)
        if isinstance(error, redis.WatchError):
            raise CommandError(
                "somebody else has used the switch in this very moment: it stays on; run "
                "`exitctl status`, then repeat"
            ) from None
        raise CommandError(
            f"Redis failed while the switch was released ({error}): the file is on again; "
            "run `exitctl status`, then repeat"
        ) from None
