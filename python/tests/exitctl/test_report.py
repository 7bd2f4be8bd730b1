"""`exitctl report`: a period that the whole stack lived through, and what others try with it."""

from __future__ import annotations

import re
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest

from quantum_exit import keys

from ..conftest import wait_for
from ..stack import Stack, run_module
from .browser import Browser
from .shell import Operator

HOSTILE = "</td><script>acted=1</script><img src=x onerror=acted=1>\x1b[2J\u202e&amp;\"'"


class Elements(HTMLParser):
    """The elements of a page and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def lived(stack: Stack) -> Stack:
    """A position that was opened and closed at its stop, and a plan that was denied."""
    buy = ("--symbol", "BTCUSDT", "--side", "BUY", "--qty", "0.01", "--source", "intent_bridge")
    assert stack.exitctl("plan", "send", *buy).code == 0
    wait_for(lambda: stack.beat("exitbrain").get("positions") == "1", "the brain sees it")
    sell = ("--symbol", "BTCUSDT", "--side", "SELL", "--qty", "0.01", "--reduce-only")
    denied = stack.exitctl("plan", "send", *sell, "--source", "intent_bridge")
    assert denied.code == 2, denied
    stack.exchange.set_price("BTCUSDT", "58700")
    wait_for(lambda: stack.exchange.position("BTCUSDT") == 0, "the exit")
    wait_for(lambda: stack.redis.xlen(keys.APPLY_RESULT) == 3, "its result")
    return stack


def test_what_happened_is_in_the_document(lived: Stack) -> None:
    document = lived.exitctl("report", "--json", "--since", "1h").json
    (closed,) = document["closed"]
    assert (closed["symbol"], closed["side"], closed["qty"]) == ("BTCUSDT", "LONG", "0.01")
    assert Decimal(closed["entry_price"]) == 60000
    assert Decimal(closed["exit_price"]) == 58700
    assert Decimal(closed["gain"]) == -13
    (last,) = closed["exits"]
    assert last["by"] == "exitbrain_v3_5"
    assert last["reason"].startswith("STOP_LOSS")
    assert document["denials_by_code"] == {"NOT_EXIT_OWNER": 1}
    assert document["denials_by_source"] == {"intent_bridge": 1}
    whole = document["latencies_ms"]["exit: intent to result"]
    assert whole["count"] == 1
    assert 0 <= whole["p50"] <= whole["p100"] < 60_000
    names = [proof["proof"] for proof in document["proofs"]]
    assert names == ["exitbrain", "executor", "apply", "watch", "host"]
    assert document["expected"] == "live"
    again = lived.exitctl("report", "--json", "--since", "1h").json
    assert again["denials_by_code"] == {"NOT_EXIT_OWNER": 1}, "drills of a proof are no denials"
    assert again["denials_of_proofs"] > 0
    say_what_is_not_known(lived)


def say_what_is_not_known(lived: Stack) -> None:
    """An exchange that does not answer takes the prices away, not the report."""
    environ = {**lived.operator, "BINANCE_BASE_URL": "http://127.0.0.1:1"}
    document = run_module("quantum_exit.exitctl", ("report", "--json"), environ).json
    assert any("the exchange does not answer" in text for text in document["unknown"])
    assert any("cannot be told apart" in text for text in document["unknown"])
    assert document["closed"] == []


def test_the_page_stands_alone_and_fits_a_phone_by_day_and_night(
    lived: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    done = lived.exitctl("report", "--html", "--since", "1h", "--out", str(file))
    assert done.code in (0, 1, 2), done
    page = file.read_text()
    seen = Elements(page)
    names = [name for name, _ in seen.tags]
    assert not {"script", "img", "link", "iframe", "object"} & set(names)
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", page)
    assert not any(key.startswith("on") for _, attributes in seen.tags for key in attributes)
    assert "STOP_LOSS: mark=58700 threshold=58800" in seen.text
    for name, attributes in seen.tags:
        if name == "svg" and "aria-hidden" not in attributes:
            named = (attributes["aria-labelledby"] or "").split()
            assert attributes["role"] == "img"
            assert {a.get("id") for _, a in seen.tags} >= set(named)
    assert "closed 0.01 at 58700" in seen.text
    browser = Browser(tmp_path)
    for wide in (360, 1200):
        measured = browser.measure(page, wide)
        assert measured["wide"] == wide
        assert measured["scrolls"] <= wide, measured["over"]
        assert measured["over"] == []
        assert measured["charts"][0] > 100
        assert measured["acted"] == "undefined"
    dark = browser.measure(page, 1200, dark=True)
    assert dark["paper"] != measured["paper"]
    assert dark["ink"] != measured["ink"]


def test_what_others_write_stays_text(operator: Operator) -> None:
    result = {
        "plan_id": HOSTILE,
        "symbol": HOSTILE,
        "executed": "false",
        "decision": HOSTILE,
        "error": HOSTILE,
        "side": HOSTILE,
        "qty": HOSTILE,
        "plan_source": HOSTILE,
        "details": HOSTILE,
    }
    fill = {**result, "executed": "true", "side": "BUY", "qty": "1", "filled_qty": "1"}
    alert = {"alert_type": HOSTILE, "severity": HOSTILE, "details": f'{{"a": "{HOSTILE[:20]}"}}'}
    operator.redis.xadd(keys.APPLY_RESULT, dict(result.items()))
    operator.redis.xadd(keys.APPLY_RESULT, dict(fill.items()))
    operator.redis.xadd(keys.ALERTS, dict(alert.items()))
    operator.redis.xadd(keys.EXIT_INTENT, {"symbol": HOSTILE, "trigger_price": HOSTILE})
    operator.redis.lpush(keys.EXITBRAIN_CONTROL, '{"event": "<b>", "epoch": 9e9}', "no json")
    done = operator.run("report", "--html")
    assert done.code == 2, done.err
    seen = Elements(done.out)
    assert not {"script", "img", "b"} & {name for name, _ in seen.tags}
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", done.out)
    assert "<script>acted=1" in seen.text


def test_a_report_of_nothing(operator: Operator, tmp_path: Path) -> None:
    text = operator.run("report").out
    assert "CLOSED    0" in text
    page = Elements(operator.run("report", "--html").out).text
    assert "None was closed in this period" in page
    assert operator.run("report", REDIS_URL="redis://127.0.0.1:1/0").code == 3
    missing = operator.run("report", "--html", "--out", str(tmp_path / "none" / "file"))
    assert missing.code == 3
    assert "cannot be written" in missing.err
    assert operator.run("report", "--since", "soon").code == 3
