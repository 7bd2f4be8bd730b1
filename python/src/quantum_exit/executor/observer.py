"""One look at the world for a batch of plans: one round trip to Redis, then pure values."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from quantum_exit import keys
from quantum_exit.bus.line import Argument, Line, as_map
from quantum_exit.bus.refusals import is_wrong_type
from quantum_exit.delegation import Delegation, parse_delegation
from quantum_exit.executor.market import Market
from quantum_exit.executor.tape import Tape
from quantum_exit.gates.model import (
    Claim,
    Lane,
    Observed,
    ObservedPosition,
    PositionState,
)
from quantum_exit.gates.permit import Permit, parse_permit
from quantum_exit.policy.reader import PolicyState, read_policy
from quantum_exit.values import InvalidNumberError, Stale, Unknown, parse_amount, parse_number

SNAPSHOT_STALE_S: Final = 10.0
_SNAPSHOT_FIELDS: Final = ("position_amt", "mark_price", "ts_epoch")
_LEDGER_FIELDS: Final = ("position_amt", "updated_at")
_STATE_FIELDS: Final = ("ts_epoch", "symbols")


@dataclass(frozen=True, slots=True)
class Question:
    """The commands of one look, and about whom they ask."""

    commands: list[tuple[Argument, ...]]
    plan_ids: list[str]
    identities: list[str]
    sources: list[str]
    symbols: list[str]


@dataclass(frozen=True, slots=True)
class _Books:
    """What Redis holds of one symbol's position, as it was answered."""

    snapshot: list[bytes | None]
    ledger: list[bytes | None]
    state: list[bytes | None]
    baseline: object

    def position(
        self, symbol: str, now_epoch: float, changed: Mapping[str, str] | None = None
    ) -> PositionState:
        """`changed`: what of the ledger is another thing by now."""
        ledger = self.ledger
        if changed:
            ledger = [changed[name].encode() for name in _LEDGER_FIELDS]
        return position_state(symbol, self.snapshot, ledger, self.state, now_epoch, self.baseline)


@dataclass(frozen=True, slots=True)
class _Seen:
    """The raw answers of one round trip."""

    done: dict[str, bool]
    delegations: dict[str, Delegation | None]
    stopped: dict[str, bool]
    positions: dict[str, PositionState]
    """By the books, read once for all plans of a symbol."""
    books: dict[str, _Books]
    policy: PolicyState
    lane_open: bool
    permits: dict[str, bytes | None]


class Observer:
    """Belongs to one thread."""

    def __init__(
        self,
        line: Line,
        market: Market,
        tape: Tape,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line = line
        self._market = market
        self._tape = tape
        self._wall = wall
        self._monotonic = monotonic
        self._seen: _Seen | None = None

    def another(self) -> Observer:
        """One that looks at the same, and remembers another look."""
        return Observer(self._line, self._market, self._tape, self._wall, self._monotonic)

    def look(self, claims: list[Claim], *, permits: bool = False) -> None:
        """Reads all that the gates of these plans may ask for, and with `permits` those that
        have come already."""
        question = self.question(claims, permits=permits)
        self.take(question, self._line.ask(question.commands))

    @staticmethod
    def question(claims: list[Claim], *, permits: bool = False) -> Question:
        """What `look` asks, for who asks more in the same round trip."""
        plan_ids = list({claim.plan.plan_id for claim in claims}) if permits else []
        identities = list({claim.identity for claim in claims})
        sources = list({claim.plan.source for claim in claims})
        symbols = list({claim.plan.symbol for claim in claims})
        marks = [
            *(keys.executor_done(identity) for identity in identities),
            *(keys.executor_stopped_source(source) for source in sources),
        ]
        passing = [*(keys.delegation(source) for source in sources), keys.MANUAL_LANE_ENABLED]
        others = [*(keys.permit(plan_id) for plan_id in plan_ids), *passing]
        # Our own keys apart from the others': one command needs one access rule for all of it.
        commands: list[tuple[Argument, ...]] = [("MGET", *marks), ("MGET", *others)]
        commands += [("PTTL", name) for name in passing]
        for symbol in symbols:
            commands += (
                ("HMGET", keys.snapshot(symbol), *_SNAPSHOT_FIELDS),
                ("HMGET", keys.ledger(symbol), *_LEDGER_FIELDS),
                ("HGET", keys.position_baseline(symbol), "amount"),
            )
        commands.append(("HMGET", keys.SNAPSHOT_STATE, *_STATE_FIELDS))
        commands.append(("HGETALL", keys.POLICY_CURRENT))
        return Question(commands, plan_ids, identities, sources, symbols)

    def take(self, question: Question, answers: list[Any]) -> None:
        """What Redis answered to it."""
        # A key of the wrong type is one unreadable answer, not a lost batch.
        _raise_unless_wrong_type(answers)
        sources, symbols = question.sources, question.symbols
        (_, *marks), (_, *others), *_ = question.commands
        passing = others[len(question.plan_ids) :]
        values = dict(zip(marks + others, answers[0] + answers[1], strict=True))
        ttls_ms = dict(zip(passing, answers[2:], strict=False))
        *books, state, policy = answers[2 + len(passing) :]
        now_epoch = self._wall()
        snapshots = [_list(answer, _SNAPSHOT_FIELDS) for answer in books[0::3]]
        ledgers = [_list(answer, _LEDGER_FIELDS) for answer in books[1::3]]
        state = _list(state, _STATE_FIELDS)
        by_symbol = {
            symbol: _Books(snapshot, ledger, state, baseline)
            for symbol, snapshot, ledger, baseline in zip(
                symbols, snapshots, ledgers, books[2::3], strict=True
            )
        }
        self._seen = _Seen(
            done={
                name: values[keys.executor_done(name)] is not None for name in question.identities
            },
            delegations={
                source: _delegation(values[name], ttls_ms[name])
                for source, name in ((source, keys.delegation(source)) for source in sources)
            },
            stopped={
                source: values[keys.executor_stopped_source(source)] is not None
                for source in sources
            },
            positions={
                symbol: held.position(symbol, now_epoch) for symbol, held in by_symbol.items()
            },
            books=by_symbol,
            policy=read_policy(as_map(policy), now_epoch),
            lane_open=values[keys.MANUAL_LANE_ENABLED] == b"1"
            and ttls_ms[keys.MANUAL_LANE_ENABLED] > 0,
            permits={plan_id: values[keys.permit(plan_id)] for plan_id in question.plan_ids},
        )

    def permit(self, claim: Claim) -> Permit | None:
        """The plan's permit if it was there as a string; a hash is found by looking again."""
        value = self._current.permits.get(claim.plan.plan_id)
        return None if value is None else parse_permit(value)

    def is_done(self, claim: Claim) -> bool:
        return self._current.done[claim.identity]

    def observed(self, claim: Claim, ledger: Mapping[str, str] | None = None) -> Observed:
        """What was seen for one of the plans of the last `look`. `ledger`: what the symbol's
        ledger holds since then, or is about to hold; empty for what it held."""
        seen, plan = self._current, claim.plan
        now_epoch, now_mono = self._wall(), self._monotonic()
        position = (
            seen.positions[plan.symbol]
            if ledger is None
            else seen.books[plan.symbol].position(plan.symbol, now_epoch, ledger)
        )
        mark = self._market.mark(plan.symbol)
        if not isinstance(mark, Decimal) and isinstance(position, ObservedPosition):
            mark = position.mark_price or mark
        return Observed(
            now_epoch=now_epoch,
            position=position,
            manual_lane_open=claim.lane is Lane.MANUAL and seen.lane_open,
            delegation=seen.delegations[plan.source],
            policy=seen.policy,
            rules=self._market.rules(plan.symbol),
            mark_price=mark,
            source_stopped=seen.stopped[plan.source],
            orders_last_minute=self._tape.orders_last_minute(plan.symbol, now_mono),
            repeats=self._tape.repeats(plan, now_mono),
        )

    @property
    def _current(self) -> _Seen:
        if self._seen is None:
            raise RuntimeError("look() comes first")
        return self._seen


def position_state(
    symbol: str,
    snapshot: list[bytes | None],
    ledger: list[bytes | None],
    snapshot_state: list[bytes | None],
    now_epoch: float,
    baseline: object = None,
) -> PositionState:
    """A snapshot; or, where the brain of positions saw the whole account without this symbol,
    an observed zero. Never observed is neither."""
    if all(value is None for value in snapshot):
        return _absent_position(symbol, ledger, snapshot_state, now_epoch, baseline)
    amount_text, mark_text, at_text = snapshot
    try:
        amount = parse_amount(_decode(amount_text))
        observed_at = float(parse_number(_decode(at_text)))
        mark = parse_number(_decode(mark_text)) if mark_text else None
    except (InvalidNumberError, UnicodeDecodeError):
        return Unknown("malformed snapshot")
    age_s = now_epoch - observed_at
    if age_s > SNAPSHOT_STALE_S or age_s < -SNAPSHOT_STALE_S:
        return Stale(age_s)
    own = _younger_own_amount(ledger, baseline, observed_at)
    return ObservedPosition(amount, mark or None, age_s, own)


def _younger_own_amount(
    ledger: list[bytes | None], baseline: object, observed_at: float
) -> Decimal | None:
    """What our books say, if a fill of ours is younger than the observation: our own fills,
    and beside them what P3.3 found on the account that they do not explain."""
    amount, updated_at = ledger
    try:
        if float(parse_number(_decode(updated_at))) <= observed_at:
            return None
        beside = parse_amount(baseline.decode()) if isinstance(baseline, bytes) else Decimal(0)
        return parse_amount(_decode(amount)) + beside
    except (InvalidNumberError, UnicodeDecodeError):
        return None


def _absent_position(
    symbol: str,
    ledger: list[bytes | None],
    snapshot_state: list[bytes | None],
    now_epoch: float,
    baseline: object,
) -> PositionState:
    at_text, symbols_text = snapshot_state
    if at_text is None or symbols_text is None:
        return Unknown("never observed")
    try:
        observed_at = float(parse_number(_decode(at_text)))
        held = json.loads(symbols_text)
    except (InvalidNumberError, ValueError):
        return Unknown("malformed snapshot state")
    if not isinstance(held, list) or symbol in held:
        return Unknown("its snapshot is missing")
    age_s = now_epoch - observed_at
    if not -SNAPSHOT_STALE_S <= age_s <= SNAPSHOT_STALE_S:
        return Stale(age_s)
    own = _younger_own_amount(ledger, baseline, observed_at)
    return ObservedPosition(Decimal(0), None, age_s, own)


def _delegation(value: Any, ttl_ms: Any) -> Delegation | None:
    if not isinstance(value, bytes) or not isinstance(ttl_ms, int):
        return None
    return parse_delegation(value, ttl_ms)


def _decode(value: bytes | None) -> str:
    return "" if value is None else value.decode()


def _list(value: Any, names: tuple[str, ...]) -> list[bytes | None]:
    """The answer of HMGET; an error (wrong type) reads as malformed, not as absent."""
    return value if isinstance(value, list) else [b"?" for _ in names]


def _raise_unless_wrong_type(answers: list[Any]) -> None:
    for answer in answers:
        if isinstance(answer, Exception) and not is_wrong_type(answer):
            raise answer
