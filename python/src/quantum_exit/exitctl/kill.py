"""Engage the kill switch. When this returns, the exchange accepts no order of ours any more.

The executor fixes an order's timestamp, then reads the kill file, then takes its grant in
one atomic step that checks `quantum:kill_switch` and writes the grant down. So once the
switch is set no new grant is made, and what was granted before is either settled or dies at
its fence. Where the grants cannot be seen, every order signed before is waited out instead.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from quantum_exit import keys, kill_switch
from quantum_exit.alerts.model import AlertType, Severity
from quantum_exit.bus.refusals import is_wrong_type
from quantum_exit.exitctl import kill_file
from quantum_exit.exitctl.control import Act, trail
from quantum_exit.exitctl.fence import (
    MAX_RECV_WINDOW_MS,
    ExchangeTime,
    OpenGrant,
    is_dead,
    parse_grants,
)
from quantum_exit.exitctl.resp import Reply, Resp, RespError, pairs

REDIS_TIMEOUT_S: Final = 0.5
EXECUTOR_ENV_FILE: Final = "/etc/quantum/intent-executor.env"
DEFAULT_RECV_WINDOW_MS: Final = 1_000
# Without a readable exchange clock. The exchange refuses what is ahead of it by a second.
DEFAULT_OFFSET_MS: Final = 500
MAX_OFFSET_MS: Final = 900
_POLL_S: Final = 0.005
_PATIENCE_S: Final = 3.0  # for an exchange whose clock can be read, but slowly


@dataclass(slots=True)
class KillReport:
    """What was done, what was waited for, and whether it is certain."""

    file: str = ""
    redis: str = ""
    file_set: bool = False
    redis_set: bool = False
    orders: list[dict[str, str]] = field(default_factory=list)
    """Orders that were on their way: `order` and `outcome`."""
    blind: list[str] = field(default_factory=list)
    """Why not all orders on their way could be seen."""
    warnings: list[str] = field(default_factory=list)
    waited_ms: int = 0
    waited_for: str = ""
    certain: bool = False

    @property
    def exit_code(self) -> int:
        if not (self.file_set or self.redis_set):
            return 2
        if not self.certain:
            return 3
        return 1 if any(warning.startswith("REFUSED") for warning in self.warnings) else 0


class _Redis:
    """Redis as far as it answers. After the first failure it is not asked again."""

    def __init__(self, url: str) -> None:
        self.error = "REDIS_URL is not set" if not url else ""
        self._url = url
        self._connection: Resp | None = None

    def ask(self, commands: list[tuple[str, ...]]) -> list[Reply] | None:
        if self.error:
            return None
        try:
            if self._connection is None:
                self._connection = Resp(self._url, REDIS_TIMEOUT_S)
            replies = self._connection.run([*commands], REDIS_TIMEOUT_S)
        except (OSError, ValueError, RespError) as error:
            self.error = str(error) or type(error).__name__
            return None
        # Just started: it refuses everything until it has read its file, and knows nothing yet.
        loading = [r for r in replies if isinstance(r, RespError) and str(r).startswith("LOADING")]
        if loading:
            self.error = str(loading[0])
            return None
        return replies


def engage(environ: Mapping[str, str], act: Act, base_url: str | None) -> KillReport:
    """Set both places, then wait. `base_url`: the exchange; None when it is not configured."""
    began = time.monotonic()
    report = KillReport()
    path = environ.get("QUANTUM_KILL_FILE", "").strip()
    _set_file(report, path)
    redis = _Redis(environ.get("REDIS_URL", "").strip())
    seen = _set_redis(report, redis, act, environ)
    if report.file_set or report.redis_set:
        _wait(report, redis, seen, base_url, began)
    report.waited_ms = round((time.monotonic() - began) * 1000)
    return report


def _set_file(report: KillReport, path: str) -> None:
    if not path:
        report.file = "not used (QUANTUM_KILL_FILE is not set)"
        return
    try:
        kill_file.write(path, active=True)
    except OSError as error:
        report.file = f"{path}: {error.strerror or error}"
        report.warnings.append(f"REFUSED {report.file}: the file is NOT set; mend it and repeat")
    # Read back, because an error after the write (of fsync) leaves the word standing.
    state = kill_switch.read_file(path)
    report.file_set = state.active and state.why == "on"
    if report.file_set:
        report.file = f"{path}: on"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What Redis told at the moment the switch was set."""

    orders: tuple[OpenGrant, ...]
    recv_window_ms: int
    offset_ms: int


def _set_redis(report: KillReport, redis: _Redis, act: Act, environ: Mapping[str, str]) -> _Seen:
    document = kill_switch.dump_runtime(
        active=True, by=act.by, reason=act.reason, at=act.at, epoch=act.epoch
    )
    executor = keys.heartbeat("intent_executor")
    replies = redis.ask(
        [
            ("SET", keys.KILL_SWITCH, document, "GET"),
            ("HGETALL", keys.EXECUTOR_OPEN),
            ("HMGET", executor, "recv_window_ms", "clock_offset_ms"),
            ("INFO", "server"),
            *trail(act, AlertType.KILL_SWITCH_ENGAGED, Severity.CRITICAL, {"file": report.file}),
        ]
    )
    if replies is None:
        report.redis = f"not reachable: {redis.error}"
        report.blind.append("Redis is not reachable, so open orders cannot be listed")
        report.warnings.append(
            f"Redis is not reachable ({redis.error}): the switch is on by the file alone; "
            "the alert and the control entry are missing. Repeat `exitctl kill` when it is back"
        )
        return _Seen((), _window_on_disk_ms(environ), DEFAULT_OFFSET_MS)
    before, grants, beat, info, *trailed = replies
    if is_wrong_type(before):
        # Not a string, which reads as on; made one, so that it can be released again.
        again = redis.ask([("SET", keys.KILL_SWITCH, document)])
        before = None if again and again[0] == b"OK" else before
    if isinstance(before, RespError):
        report.redis = f"refused: {before}"
        report.blind.append("Redis refused to set the switch, so grants may still be made")
        report.warnings.append(f"REFUSED {keys.KILL_SWITCH} is NOT set: {before}")
    else:
        report.redis_set = True
        report.redis = f"{keys.KILL_SWITCH}: on"
        if before is None:
            report.blind.append(
                "the switch was missing in Redis: its data was lost, maybe grants too"
            )
    report.warnings += [f"not recorded: {r}" for r in trailed if isinstance(r, RespError)]
    window_ms, offset_ms = _measured(beat, _configured_window_ms(environ))
    if _uptime_s(info) * 1000 <= window_ms:
        report.blind.append("Redis has just started: grants may have been lost before")
    return _Seen(_orders(report, grants), window_ms, offset_ms)


def _orders(report: KillReport, reply: Reply) -> tuple[OpenGrant, ...]:
    try:
        grants = parse_grants(pairs(reply))
    except ValueError:
        report.blind.append(f"{keys.EXECUTOR_OPEN} cannot be read: {reply!r:.100}")
        return ()
    if grants.unreadable:
        report.blind.append(f"unreadable in {keys.EXECUTOR_OPEN}: {', '.join(grants.unreadable)}")
    return grants.orders


def _configured_window_ms(environ: Mapping[str, str]) -> int:
    text = environ.get("QUANTUM_RECV_WINDOW_MS", "").strip()
    return min(int(text), MAX_RECV_WINDOW_MS) if text.isdigit() else DEFAULT_RECV_WINDOW_MS


def _window_on_disk_ms(environ: Mapping[str, str]) -> int:
    """Without Redis the executor cannot tell; root may look into its settings."""
    from quantum_exit.proofs import host

    settings = host.read_env_file(EXECUTOR_ENV_FILE)
    theirs = _configured_window_ms(settings) if isinstance(settings, dict) else 0
    return max(theirs, _configured_window_ms(environ))


def _measured(beat: Reply, window_ms: int) -> tuple[int, int]:
    """The longer of the configured and the executor's own recvWindow, and its clock's offset."""
    offset_ms = DEFAULT_OFFSET_MS
    if isinstance(beat, list) and len(beat) == 2:
        said, offset = (
            part.decode(errors="replace") if isinstance(part, bytes) else "" for part in beat
        )
        if said.isdigit():
            window_ms = max(window_ms, min(int(said), MAX_RECV_WINDOW_MS))
        with contextlib.suppress(ValueError, OverflowError):
            offset_ms = min(abs(int(float(offset))), MAX_OFFSET_MS)
    return window_ms, offset_ms


def _uptime_s(info: Reply) -> int:
    """0 when it cannot be told."""
    if isinstance(info, bytes):
        for line in info.splitlines():
            name, _, value = line.partition(b":")
            if name == b"uptime_in_seconds" and value.isdigit():
                return int(value)
    return 0


def _wait(
    report: KillReport, redis: _Redis, seen: _Seen, base_url: str | None, began: float
) -> None:
    """Until every order seen is settled or dead, and, if blind, every order signed before."""
    pending = list(seen.orders)
    if not pending and not report.blind:
        report.certain = True
        report.waited_for = "nothing: no order was on its way"
        return
    exchange = ExchangeTime(base_url) if base_url else None
    if exchange:
        exchange.start()
    longest_ms = max([seen.recv_window_ms, *(order.recv_window_ms for order in pending)])
    blind_at_first = len(report.blind)
    blind_over = not report.blind
    while not report.certain:
        pending = _without_settled(report, redis, pending)
        if len(report.blind) > blind_at_first:
            blind_over = False
        first_ms = exchange.first_reading_ms if exchange else None
        now = time.monotonic()
        if exchange and first_ms is not None:
            earliest_ms = exchange.clock.earliest_ms(now)
            pending = _without_dead(report, pending, first_ms, earliest_ms)
            blind_over = blind_over or earliest_ms > first_ms + 1 + longest_ms
        report.certain = blind_over and not pending
        grace_s = seen.offset_ms / 1000 if first_ms is None else _PATIENCE_S
        if not report.certain and now - began > longest_ms / 1000 + grace_s:
            break
        time.sleep(_POLL_S)
    if exchange:
        exchange.stop()
    _tell(report, pending, exchange, longest_ms, seen.offset_ms)


def _without_settled(
    report: KillReport, redis: _Redis, pending: list[OpenGrant]
) -> list[OpenGrant]:
    if not pending:
        return pending
    replies = redis.ask([("EXISTS", keys.KILL_SWITCH), ("HKEYS", keys.EXECUTOR_OPEN)])
    if replies is None or not isinstance(replies[1], list):
        return pending  # Redis is gone meanwhile; the fences still count
    if replies[0] != 1:
        why = "Redis lost its data while this waited"
        if why not in report.blind:
            report.blind.append(why)
        return pending
    still_open = {name.decode(errors="replace") for name in replies[1] if isinstance(name, bytes)}
    for order in pending:
        if order.field not in still_open:
            report.orders.append({"order": order.text, "outcome": "settled; see its result"})
    return [order for order in pending if order.field in still_open]


def _without_dead(
    report: KillReport, pending: list[OpenGrant], first_ms: int, earliest_ms: int
) -> list[OpenGrant]:
    alive: list[OpenGrant] = []
    for order in pending:
        if is_dead(order, first_ms, earliest_ms):
            outcome = "open; unless it was accepted before, the exchange refuses it from now on"
            report.orders.append({"order": order.text, "outcome": outcome})
        else:
            alive.append(order)
    return alive


def _tell(
    report: KillReport,
    pending: list[OpenGrant],
    exchange: ExchangeTime | None,
    longest_ms: int,
    offset_ms: int,
) -> None:
    for order in pending:
        report.orders.append({"order": order.text, "outcome": "NOT KNOWN"})
    if report.certain:
        what = "every order on its way was settled or has passed its fence"
        if report.blind:
            what = f"the exchange's clock has passed every order's recvWindow ({longest_ms} ms)"
        report.waited_for = what
        return
    why = exchange.error if exchange else "BINANCE_BASE_URL or BINANCE_TESTNET is not set"
    report.waited_for = f"recvWindow {longest_ms} ms and a clock offset of {offset_ms} ms"
    report.warnings.append(
        f"the exchange's clock could not be read ({why}): by this host's clock every order is "
        "dead by now, but the exchange has not confirmed it"
    )
