"""It keeps asking: when a reason's next intent is due, and what a result means for it.

While an intent is in flight no second one goes out for the same reason. A denied, failed
or expired one is followed by another, with growing pauses, for as long as the reason holds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from quantum_exit.brain.results import PlanResult
from quantum_exit.brain.track import Ask, AskState, Track
from quantum_exit.exits.rules import Decision, Rule, full_close_begun, level_done

INTENT_LIFETIME_S: Final = 60.0
ANSWER_GRACE_S: Final = 2.0
"""A plan made in the intent's last second may be answered a little after it."""
PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
ALERT_AFTER_FAILURES: Final = 3
ALERT_AGAIN_EVERY: Final = 20
"""About ten minutes at the longest pause."""
CLOSE_SLOT: Final = "close"
_ROUNDS_TO_NOTHING: Final = "quantity_below_step"


@dataclass(frozen=True, slots=True)
class Failure:
    """An intent was not carried out."""

    symbol: str
    ask: Ask

    @property
    def is_alarming(self) -> bool:
        failures = self.ask.failures
        return failures == ALERT_AFTER_FAILURES or failures % ALERT_AGAIN_EVERY == 0


def slot_of(decision: Decision) -> str:
    """All full closes share one slot: they are the same order, whatever the reason."""
    return CLOSE_SLOT if decision.is_full else decision.key


def left_of(track: Track, decision: Decision) -> Decimal:
    """What is still to be closed for this decision, unsigned: of a level its share without what
    was filled for it. Never more than is held."""
    held = abs(track.amount)
    if decision.is_full:
        return held
    ask = track.asks.get(slot_of(decision))
    return min(held, _left_of_share(track, decision.fraction, ask.filled if ask else Decimal(0)))


def _left_of_share(track: Track, fraction: Decimal, filled: Decimal) -> Decimal:
    return track.largest * fraction - filled


def may_ask(
    track: Track, decision: Decision, now_epoch: float, granted: frozenset[str] | None
) -> bool:
    """`granted`: as in `Reading`."""
    close = track.asks.get(CLOSE_SLOT)
    if close is not None and close.state is AskState.IN_FLIGHT:
        return False
    ask = track.asks.get(slot_of(decision))
    if ask is None:
        return True
    if ask.state is AskState.IN_FLIGHT:
        return False
    if not decision.is_full and (granted is None or track.symbol in granted):
        return False  # it may be this level's: the position alone bounds a close, no level
    # Another reason for the close does not inherit the pauses that the first one earned.
    is_new_reason = ask.state is AskState.FAILED and ask.key != decision.key
    return is_new_reason or now_epoch >= ask.not_before_epoch


def next_ask(track: Track, decision: Decision, now_epoch: float) -> Ask:
    """The intent that is to go out now. Its id is the same whoever derives it from here."""
    before = track.asks.get(slot_of(decision))
    attempt = before.attempt + 1 if before else 1
    same_reason = before is not None and before.key == decision.key
    return Ask(
        key=decision.key,
        attempt=attempt,
        intent_id=f"{track.symbol}-{track.episode}-{decision.key}-{attempt}",
        state=AskState.IN_FLIGHT,
        sent_epoch=now_epoch,
        failures=before.failures if before and same_reason else 0,
        fraction=decision.fraction,
        level_pct=decision.level_pct,
        filled=before.filled if before else Decimal(0),
    )


def with_ask(track: Track, slot: str, ask: Ask) -> Track:
    return replace(track, asks=MappingProxyType({**track.asks, slot: ask}))


def answered(
    track: Track, results: tuple[PlanResult, ...], now_epoch: float
) -> tuple[Track, tuple[Failure, ...]]:
    """What the results of this symbol, and time, did to the intents in flight."""
    failures: list[Failure] = []
    for slot, ask in track.asks.items():
        fills = (r.filled for r in results if r.fills_an_attempt_of(ask.intent_id))
        filled = abs(sum(fills, Decimal(0)))
        if filled and slot == CLOSE_SLOT:
            track = _close_begun(track, ask, now_epoch)
            continue
        if filled:
            ask = replace(ask, filled=ask.filled + filled)
            track = with_ask(track, slot, ask)
            if _left_of_share(track, ask.fraction, ask.filled) <= 0:
                track = _level_done(with_ask(track, slot, _executed(ask, now_epoch)), ask)
                continue
        if ask.state is not AskState.IN_FLIGHT:
            continue
        answers = (r for r in results if r.answers(ask.intent_id))
        answer = max(answers, key=lambda r: bool(r.filled), default=None)
        if answer is not None and slot != CLOSE_SLOT and not answer.is_certain:
            # Anybody can call forth an answer in our name. Without the executor's mark the intent
            # may still be carried out, and a level that is asked for twice is taken twice.
            ask = replace(ask, error=f"unproven: {answer.error}"[:200])
            track, answer = with_ask(track, slot, ask), None
        if answer is not None and answer.filled:
            track = with_ask(track, slot, _executed(ask, now_epoch))
            continue
        error = _why_not(ask, answer, now_epoch)
        if error == _ROUNDS_TO_NOTHING and slot != CLOSE_SLOT:
            # Half of a position of one step, or what rounding left: no repetition can fill it.
            done = replace(ask, state=AskState.FAILED, error=error)
            track = _level_done(with_ask(track, slot, done), done)
        elif error:
            failed = _failed(ask, error, now_epoch)
            failures.append(Failure(track.symbol, failed))
            track = with_ask(track, slot, failed)
    return track, tuple(failures)


def _why_not(ask: Ask, answer: PlanResult | None, now_epoch: float) -> str:
    """Why this intent was not carried out; empty while it may still be."""
    if answer is not None:
        return answer.error or answer.decision or "nothing filled"
    expired = now_epoch - ask.sent_epoch > INTENT_LIFETIME_S + ANSWER_GRACE_S
    return (ask.error or "no result within its lifetime") if expired else ""


def _executed(ask: Ask, now_epoch: float) -> Ask:
    # The exchange may need a moment to show the smaller position.
    return replace(
        ask, state=AskState.EXECUTED, not_before_epoch=now_epoch + PAUSES_S[0], failures=0, error=""
    )


def _close_begun(track: Track, ask: Ask, now_epoch: float) -> Track:
    track = with_ask(track, CLOSE_SLOT, _executed(ask, now_epoch))
    return replace(track, rules=full_close_begun(track.rules, _rule_of(ask.key, track)))


def _level_done(track: Track, ask: Ask) -> Track:
    decision = Decision(Rule.TAKE_PROFIT, ask.fraction, None, ask.level_pct)
    return replace(track, rules=level_done(track.rules, decision))


def _rule_of(key: str, track: Track) -> Rule:
    if key == "time":
        return Rule.TIME_LIMIT
    return track.rules.stop_rule if key == "stop" else Rule.TAKE_PROFIT


def _failed(ask: Ask, error: str, now_epoch: float) -> Ask:
    failures = ask.failures + 1
    pause_s = PAUSES_S[min(failures, len(PAUSES_S)) - 1]
    return replace(
        ask,
        state=AskState.FAILED,
        failures=failures,
        error=error[:200],
        not_before_epoch=now_epoch + pause_s,
    )
