"""The three layers together on the host: the owner exits, and an exit that intent_bridge asks
for is blocked as an intent, denied as a plan, and told of when it is done behind our back."""

from __future__ import annotations

import json
import time
import uuid
from decimal import Decimal

import pytest
from conftest import AsUser
from stage import is_fit, until
from testinfra.host import Host

SYMBOL = "SOLUSDT"
# Runs on the host: the paper exchange listens on its loopback, and its token stays there.
CONTROL = """
import json, sys, urllib.request
secrets = dict(
    line.rstrip().split("=", 1)
    for line in open("/etc/quantum/paper-exchange.env") if "=" in line
)
port = secrets["PAPER_EXCHANGE_PORT"].strip('"')
method, path, body = sys.argv[1:4]
request = urllib.request.Request(
    f"http://127.0.0.1:{port}{path}", method=method, data=body.encode() or None,
    headers={
        "Content-Type": "application/json",
        "X-Paper-Control": secrets.get("PAPER_EXCHANGE_CONTROL_TOKEN", "").strip('"'),
    },
)
print(urllib.request.urlopen(request, timeout=10).read().decode())
"""


def control(host: Host, method: str, path: str, body: object = None) -> object:
    text = "" if body is None else json.dumps(body)
    command = "python3 -c %s %s %s %s"
    return json.loads(host.check_output(command, CONTROL, method, path, text))


def held(host: Host) -> Decimal:
    """The exchange's own word on the position."""
    state = control(host, "GET", "/paper/state")
    assert isinstance(state, dict)
    position = state["positions"].get(SYMBOL)
    return Decimal(position["amount"]) if position else Decimal(0)


def send_plan(as_user: AsUser, **fields: str) -> str:
    """As the producer intent_bridge, through its own Redis user."""
    plan_id = f"layers-{uuid.uuid4().hex[:12]}"
    plan = {
        "plan_id": plan_id,
        "decision": "EXECUTE",
        "symbol": SYMBOL,
        "side": "BUY",
        "type": "MARKET",
        "qty": "2",
        "reduceOnly": "false",
        "source": "intent_bridge",
        "signature": "intent_bridge",
        "timestamp": f"{time.time():.6f}",
        "action": "OPEN",
    }
    as_user("intent_bridge").xadd("quantum:stream:apply.plan", plan | fields)
    return plan_id


def results(as_user: AsUser, **wanted: str) -> list[dict[str, str]]:
    entries = as_user("proof").xrevrange("quantum:stream:apply.result", count=500)
    return [fields for _, fields in entries if wanted.items() <= fields.items()]


def result_of(as_user: AsUser, plan_id: str) -> dict[str, str]:
    until(f"a result for {plan_id}", lambda: results(as_user, plan_id=plan_id))
    (result,) = results(as_user, plan_id=plan_id)
    return result


def alerts(as_user: AsUser, alert_type: str) -> list[dict[str, str]]:
    entries = as_user("proof").xrevrange("quantum:stream:alerts", count=200)
    return [json.loads(f["details"]) for _, f in entries if f["alert_type"] == alert_type]


@pytest.fixture
def position(host: Host, as_user: AsUser) -> None:
    """A long that intent_bridge opened, guarded by the Exit Brain."""
    until("the host is fit", lambda: is_fit(host))
    control(host, "POST", "/paper/prices", {SYMBOL: "150"})
    time.sleep(2)  # the executor's marks are at most this old: the plan is judged by this price
    opened = result_of(as_user, send_plan(as_user))
    assert opened["decision"] == "EXECUTED", opened
    brain = as_user("proof")
    until("the brain guards it", lambda: SYMBOL in brain.hgetall("quantum:exitbrain:tracks"))


@pytest.mark.usefixtures("position")
def test_only_the_owner_exits(host: Host, as_user: AsUser) -> None:
    # Layer 1: an intent in a name that owns no exits. Even the brain's Redis user can no more
    # than write it down.
    intent_id = f"layers-{uuid.uuid4().hex[:12]}"
    intent = {
        "intent_id": intent_id,
        "symbol": SYMBOL,
        "action": "FULL_CLOSE",
        "side": "LONG",
        "qty_fraction": "1",
        "quantity": "2",
        "reason": "not mine to close",
        "source": "intent_bridge",
        "ts_epoch": f"{time.time():.6f}",
    }
    as_user("exitbrain").xadd("quantum:stream:exit.intent", intent)
    refused = {"decision": "BLOCKED", "error": "NOT_EXIT_OWNER:source=intent_bridge"}
    until("layer 1 blocks the intent", lambda: results(as_user, symbol=SYMBOL, **refused))

    # Layer 2: plans, by their flag and by their effect.
    for fields in ({"reduceOnly": "true"}, {"reduceOnly": "false"}):
        denied = result_of(as_user, send_plan(as_user, side="SELL", action="CLOSE", **fields))
        assert denied["decision"] == "DENIED"
        assert denied["error"] == "NOT_EXIT_OWNER:source=intent_bridge"
    assert held(host) == 2

    # Layer 3: done behind our back, on the exchange itself.
    control(host, "POST", "/paper/position", {"symbol": SYMBOL, "amount": "1", "actor": "hand"})

    def told() -> bool:
        changes = alerts(as_user, "UNAUTHORIZED_POSITION_CHANGE")
        return any(change["symbol"] == SYMBOL for change in changes)

    until("layer 3 tells of it", told)

    # The owner: the price falls through its stop, and not as far as the one on the exchange.
    control(host, "POST", "/paper/prices", {SYMBOL: "146"})
    until("the owner's stop closes what is left", lambda: held(host) == 0, 90)

    def owners_exit() -> list[dict[str, str]]:
        mine = {"symbol": SYMBOL, "plan_source": "exitbrain_v3_5", "executed": "true"}
        return [r for r in results(as_user, **mine) if r["side"] == "SELL"]

    until("its result", lambda: any(r["filled_qty"] == "1" for r in owners_exit()))

    # What was done by hand holds the symbol until a person has looked.
    assert "RECONCILED" in host.check_output(f"exitctl reconcile {SYMBOL}")
