"""What a key pair is good for, asked of the exchange itself."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final

from quantum_exit.binance.client import Client, ClientFactory
from quantum_exit.binance.errors import ExchangeError, ReadFailed, Refused
from quantum_exit.binance.fields import Malformed, decode_json
from quantum_exit.binance.model import Credentials
from quantum_exit.rotation.errors import RotationError

NOT_CHECKED: Final = (
    "withdrawal, transfer and other rights of the key",
    "its IP restrictions, beyond that this host may use it",
    "when it expires",
)
"""No endpoint of the futures API tells these."""

_TIMEOUT_S: Final = 5.0
_PROBE_SYMBOL: Final = "BTCUSDT"
_UNKNOWN_ORDER: Final = -2011
_NO_SUCH_ORDER: Final = -2013
_NOT_PERMITTED: Final = frozenset({-2014, -2015, -2008, -1022, -1002})


@dataclass(frozen=True, slots=True)
class Pair:
    """A key and its secret. Neither appears in its repr."""

    key: str
    secret: str

    def __repr__(self) -> str:
        return "Pair(…)"


@dataclass(frozen=True, slots=True)
class Standing:
    """What the exchange says of a pair that it accepts."""

    account: str
    """The account's alias: the same for all keys of one account. Empty: not told."""
    account_may_trade: bool
    key_may_trade: bool


def standing(pair: Pair, url: str) -> Standing:
    """Signed reads, and a cancel of an order that does not exist: it needs the right to trade
    and changes nothing. Raises RotationError when the pair does not work, or it cannot be told.
    """
    try:
        client = ClientFactory(
            Credentials(pair.key, pair.secret), url, timeout_s=_TIMEOUT_S, recv_window_ms=5000
        ).make()
    except ValueError as error:
        raise RotationError(str(error)) from None
    try:
        account = client.account()
        alias = client.get_signed("/fapi/v3/balance", {}, _alias)
        return Standing(alias, account.can_trade, _may_trade(client))
    except ExchangeError as error:
        raise RotationError(f"the exchange refuses it: {error}") from None
    except ReadFailed as error:
        raise RotationError(f"the exchange could not be asked: {error}") from None
    finally:
        client.close()


def still_valid(pair: Pair, url: str) -> bool | None:
    """Whether the exchange accepts the pair; None when it could not be asked."""
    try:
        client = ClientFactory(Credentials(pair.key, pair.secret), url, timeout_s=_TIMEOUT_S).make()
    except ValueError:
        return False
    try:
        client.account()
    except ExchangeError as error:
        return False if error.code in _NOT_PERMITTED else None
    except ReadFailed:
        return None
    finally:
        client.close()
    return True


def _may_trade(client: Client) -> bool:
    request = client.sign_cancel(
        _PROBE_SYMBOL, f"rotation-probe-{secrets.token_hex(8)}", client.server_time()
    )
    outcome = client.send_order(request)
    if isinstance(outcome, Refused) and outcome.code in (_UNKNOWN_ORDER, _NO_SUCH_ORDER):
        return True
    if isinstance(outcome, Refused) and outcome.code in _NOT_PERMITTED:
        return False
    raise RotationError(f"whether it may trade could not be told: {outcome}")


def _alias(body: bytes) -> str:
    value: Any = decode_json(body)
    if not isinstance(value, list):
        raise Malformed("balances: not a list")
    aliases = {str(row.get("accountAlias", "")) for row in value if isinstance(row, dict)}
    return aliases.pop() if len(aliases) == 1 else ""
