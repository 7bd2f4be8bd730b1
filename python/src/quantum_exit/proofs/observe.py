"""What the running system says of itself: heartbeats, places of the kill switch, mode.

Clients here speak str. Everything raises redis.RedisError when Redis is gone.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, cast

import redis

from quantum_exit import keys, kill_switch
from quantum_exit.brain.store import TRACKS
from quantum_exit.brain.track import Track, load_track
from quantum_exit.bus.heartbeat import STALE_AFTER_S
from quantum_exit.exit_mode import KILL_SWITCH_VARIABLE, ExitMode, env_kill_active
from quantum_exit.proofs import host
from quantum_exit.values import Unknown

SERVICES: Final = tuple(host.UNITS)
BRAIN_ENV_FILE: Final = "/etc/quantum/exitbrain-v35.env"


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat as it was found. `age_s` may be slightly below 0 between two clocks."""

    service: str
    age_s: float
    ready: bool
    status: str
    pid: int
    started_epoch: float
    fields: Mapping[str, str]

    @property
    def fresh(self) -> bool:
        return -STALE_AFTER_S < self.age_s <= STALE_AFTER_S


def read_hash(client: redis.Redis, key: str) -> dict[str, str]:
    # redis-py types the answer for its asynchronous twin too
    return cast("dict[str, str]", client.hgetall(key))


def read_text(client: redis.Redis, key: str) -> str | None:
    return cast("str | None", client.get(key))


def read_beat(client: redis.Redis, service: str, now_epoch: float) -> Beat | Unknown:
    try:
        fields = read_hash(client, keys.heartbeat(service))
    except redis.ResponseError as error:
        return Unknown(f"its heartbeat {keys.heartbeat(service)} cannot be read: {error}")
    if not fields:
        return Unknown("no heartbeat: it never started with this Redis")
    try:
        age_s = now_epoch - float(fields["ts_epoch"])
        started = float(fields.get("started_epoch", "nan"))
        pid = int(fields.get("pid", "0"))
        if not math.isfinite(age_s):
            raise ValueError("no time")
    except (KeyError, ValueError):
        return Unknown(f"its heartbeat {keys.heartbeat(service)} is malformed")
    ready = fields.get("ready") == "true"
    return Beat(service, age_s, ready, fields.get("status", ""), pid, started, fields)


class SwitchWord(StrEnum):
    OFF = "off"
    ON = "ON"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Place:
    """One place of the kill switch. `why`: what was seen; `mend`: how to release it."""

    name: str
    word: SwitchWord
    why: str
    mend: str

    @property
    def blocks(self) -> bool:
        """UNKNOWN is only ever said of the environment, which blocks nobody by its silence."""
        return self.word is SwitchWord.ON


def _word(state: kill_switch.SwitchState) -> SwitchWord:
    return SwitchWord.ON if state.active else SwitchWord.OFF


def runtime_place(client: redis.Redis) -> Place:
    try:
        state = kill_switch.parse_runtime(read_text(client, keys.KILL_SWITCH))
    except redis.ResponseError as error:
        state = kill_switch.SwitchState(True, f"unreadable: {error}")
    return Place("redis", _word(state), f"{keys.KILL_SWITCH} {state.why}".strip(), "exitctl resume")


def file_place(path: str) -> Place:
    state = kill_switch.read_file(path)
    why = state.why if not path or path in state.why else f"{path} {state.why}"
    return Place("file", _word(state), why, "exitctl resume")


def env_place(client: redis.Redis, beats: Mapping[str, Beat | Unknown]) -> Place:
    """The switch in the environment of brain and executor, as they run and as they would
    start again. What a running process holds counts first; its own word in Redis next."""
    mend = (
        f"set {KILL_SWITCH_VARIABLE}=false in {BRAIN_ENV_FILE} and restart "
        "quantum-exitbrain-v35.service"
    )
    try:
        latched = read_text(client, keys.BRAIN_ENV_KILL)
    except redis.ResponseError as error:  # the executor takes that for on
        why = f"{keys.BRAIN_ENV_KILL} cannot be read: {error}"
        return Place("env", SwitchWord.ON, why, "delete that key and restart the brain")
    if latched is not None and latched != "false":
        return Place("env", SwitchWord.ON, f"the brain started with {KILL_SWITCH_VARIABLE}", mend)
    for service in ("exitbrain", "intent_executor"):
        beat = beats.get(service)
        if isinstance(beat, Beat) and host.process_alive(beat.pid):
            environ = host.process_environ(beat.pid)
            if isinstance(environ, dict) and env_kill_active(environ):
                return Place("env", SwitchWord.ON, f"{service} (pid {beat.pid}) runs with it", mend)
    on_disk = host.read_env_file(BRAIN_ENV_FILE)
    if isinstance(on_disk, dict) and env_kill_active(on_disk):
        return Place(
            "env", SwitchWord.ON, f"on in {BRAIN_ENV_FILE}, from the next start of the brain", mend
        )
    if latched is None:
        return Place("env", SwitchWord.UNKNOWN, "no brain has said it yet", "start the brain")
    return Place("env", SwitchWord.OFF, f"{KILL_SWITCH_VARIABLE} off at the brain's start", mend)


def kill_places(
    client: redis.Redis, environ: Mapping[str, str], beats: Mapping[str, Beat | Unknown]
) -> list[Place]:
    path = environ.get("QUANTUM_KILL_FILE", "").strip()
    return [runtime_place(client), file_place(path), env_place(client, beats)]


def read_beats(client: redis.Redis, now_epoch: float) -> dict[str, Beat | Unknown]:
    return {service: read_beat(client, service, now_epoch) for service in SERVICES}


class SeenMode(StrEnum):
    LIVE = "LIVE"
    SHADOW = "SHADOW"
    KILLED = "KILLED"
    """A kill switch is on; what the brain decides is written to the shadow stream only."""


@dataclass(frozen=True, slots=True)
class ModeSeen:
    """The brain's mode as it runs. `against`: what stands against LIVE."""

    state: SeenMode
    against: tuple[str, ...]
    where: str


def brain_mode(beat: Beat | Unknown) -> ModeSeen | Unknown:
    """From the environment of the running process where it may be read, else from its
    heartbeat. A line in an old log says nothing about now."""
    if isinstance(beat, Unknown):
        return beat
    if not beat.fresh:
        return Unknown(f"its heartbeat is {beat.age_s:.0f} s old")
    said = beat.fields.get("mode", "").upper()
    if said not in set(SeenMode):
        return Unknown("its heartbeat does not say the mode")
    state = SeenMode(said)
    environ = host.process_environ(beat.pid)
    if isinstance(environ, dict) and state is SeenMode.LIVE:
        against = ExitMode.from_environ(environ).why_shadow
        if against:
            return ModeSeen(SeenMode.SHADOW, against, f"environment of pid {beat.pid}")
    against = () if state is SeenMode.LIVE else (beat.status,)
    return ModeSeen(state, against, f"heartbeat of pid {beat.pid}")


def read_tracks(client: redis.Redis) -> dict[str, Track]:
    """What the Exit Brain holds of each position, by symbol. What cannot be read is left out:
    the brain itself would not go by it either."""
    tracks: dict[str, Track] = {}
    for symbol, text in read_hash(client, TRACKS).items():
        with contextlib.suppress(ValueError, KeyError, TypeError, ArithmeticError, AttributeError):
            tracks[symbol] = load_track(text)
    return tracks


def load_json(text: str | None) -> Any:
    """None for anything that is not JSON."""
    try:
        return json.loads(text) if text is not None else None
    except (ValueError, RecursionError):
        return None
