"""One cycle: look at the exchange, read what others wrote, think, write it all in one step."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from quantum_exit import keys
from quantum_exit.binance.errors import ReadFailed
from quantum_exit.binance.model import AlgoAck, AlgoNotFound
from quantum_exit.brain.engine import Mode, Step
from quantum_exit.brain.news import Alert
from quantum_exit.brain.policy import ParamsInUse, ParamsSource
from quantum_exit.brain.ranges import AtrSource
from quantum_exit.brain.resting import StopFill, has_fired
from quantum_exit.brain.settings import BrainSettings
from quantum_exit.brain.state import BrainState
from quantum_exit.brain.store import Commit, Reading, Store
from quantum_exit.brain.switches import CurrentMode, current_mode
from quantum_exit.brain.think import Inputs, think
from quantum_exit.brain.world import Exchange, Seen, World

log = logging.getLogger("quantum_exit.brain")


@dataclass(frozen=True, slots=True)
class CycleReport:
    """What one good cycle did, for the log and the heartbeat."""

    state: BrainState
    mode: CurrentMode
    mode_changed: bool
    step: Step
    unreadable: tuple[str, ...]
    commit: Commit
    params: ParamsInUse

    @property
    def alerts(self) -> tuple[Alert, ...]:
        return self.commit.alerts

    @property
    def intents(self) -> int:
        return sum(wish.mode is Mode.LIVE for wish in self.commit.wishes)

    @property
    def shadowed(self) -> int:
        return len(self.commit.wishes) - self.intents


class Cycle:
    """Holds what may be lost with the process; what must not be is in BrainState."""

    def __init__(
        self,
        settings: BrainSettings,
        store: Store,
        exchange: Exchange,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._store = store
        self._exchange = exchange
        self._world = World(exchange, settings.recv_window_ms, wall, monotonic)
        self._ranges = AtrSource(exchange, monotonic)
        self._params: ParamsSource | None = None
        self._policy_trouble = ""
        self._grants_trouble_said = False
        self._wall = wall

    def load(self) -> BrainState:
        """The state as Redis has it. Raises redis.RedisError."""
        last_result_id = self._store.last_result_id()
        saved = self._store.load()
        if saved.unreadable:
            log.error("state that cannot be read is begun anew: %s", ", ".join(saved.unreadable))
        if saved.results_missing:
            log.warning("results were trimmed since the last cycle: fills may have been missed")
        state = BrainState.of(saved, last_result_id)
        if self._params is None:
            self._params = ParamsSource(state.params_json)
        return state

    def run(self, before: BrainState) -> CycleReport:
        """Raises `ReadFailed`, NotReadyError or redis.RedisError; then nothing was decided."""
        if self._params is None:
            raise RuntimeError("load() comes before run()")
        settings = self._settings
        seen = self._world.look()
        has_stops = settings.exchange_stop or bool(before.stops)
        stop_list = self._world.stop_list() if has_stops else None
        reading = self._store.read(before.cursor)
        self._say_unreadable_grants(reading)
        now_epoch = self._wall()
        mode = current_mode(
            settings.mode,
            reading.kill_switch,
            settings.kill_file,
            can_sign=settings.signer is not None,
        )
        params = self._params.now(reading.policy, now_epoch)
        thought = think(
            before,
            Inputs(
                now_epoch=now_epoch,
                seen=seen,
                reading=reading,
                mode=mode,
                params=params,
                policy_trouble_said=bool(self._policy_trouble),
                atrs=self._ranges.for_tracks(before.tracks, params.params),
                stop_list=stop_list,
                stop_fills=self._stop_fills(before, seen, reading),
                owner=settings.owner,
                cycle_s=settings.cycle_s,
                exchange_stop=settings.exchange_stop,
            ),
        )
        if reading.state_lost:
            self._store.say_env_kill(active=settings.mode.kill_switch_active)
        self._store.commit(thought.commit)
        self._policy_trouble = params.trouble
        return CycleReport(
            state=thought.state,
            mode=mode,
            mode_changed=mode.mode.value != before.mode,
            step=thought.step,
            unreadable=tuple(sorted(seen.unreadable)),
            commit=thought.commit,
            params=params,
        )

    def _say_unreadable_grants(self, reading: Reading) -> None:
        if reading.granted is None and not self._grants_trouble_said:
            log.error(
                "%s cannot be read: a slow order of ours may be taken for a foreign change",
                keys.EXECUTOR_OPEN,
            )
        self._grants_trouble_said = reading.granted is None

    def _stop_fills(
        self, before: BrainState, seen: Seen, reading: Reading
    ) -> Mapping[str, StopFill]:
        """Where a position shrank and no result says why: by how much our stop on the
        exchange, if it has fired, explains it. Asked only for symbols in question, and in
        whatever state we believe the stop to be. A look-up that fails explains nothing, and
        costs the cycle's exits nothing: the next cycle asks again, then the change is told."""
        fills: dict[str, StopFill] = {}
        for symbol, entry in before.stops.items():
            book = before.books.get(symbol)
            if book is None or book.expected is None or symbol in seen.unreadable:
                continue
            told = sum((r.filled for r in reading.results if r.symbol == symbol), Decimal(0))
            position = seen.positions.get(symbol)
            change = (position.amount if position else Decimal(0)) - book.expected - told
            shrank = change * book.expected < 0
            if not shrank or symbol in (reading.granted or ()):
                continue
            for stop in entry.stops:
                try:
                    ack: AlgoAck | AlgoNotFound = self._exchange.query_algo(stop.client_id)
                except ReadFailed as error:
                    log.warning("whether a stop of %s fired could not be read: %s", symbol, error)
                    return fills
                if isinstance(ack, AlgoAck) and has_fired(ack) and abs(change) <= stop.quantity:
                    log.warning("the stop %s of %s on the exchange fired", stop.client_id, symbol)
                    fills[symbol] = StopFill(stop.client_id, change)
                    break
        return fills
