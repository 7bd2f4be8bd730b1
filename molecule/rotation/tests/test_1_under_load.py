"""One rotation of the exchange keys while plans arrive and a stop triggers, seen from all sides."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from decimal import Decimal

import leaks
import pytest
from hosts import wait_until
from load import PLANS, Load, ReadyGap, opening
from stage import JOURNAL, NAMES, Ended, NewKeys, Stage, new_keys

BUDGET_S = 20.0
GAP_S = 2.0
STOPPED = "AVAXUSDT"
# Below the stop the Exit Brain watches, above the far one that rests on the exchange.
FALL = Decimal("0.976")
LEFT_OVER = "/root/left-over"
VAULT_PASSWORD = "a vault's password"


@dataclass(frozen=True)
class Rotated:
    """What the rotation came to."""

    old: NewKeys
    new: NewKeys
    ended: Ended
    load: Load
    gap: ReadyGap
    processes: leaks.ProcessWatch
    fell_at_ms: int

    @property
    def secrets(self) -> list[str]:
        return [*self.old.values, *self.new.values]


def vault_of(stage: Stage, keys: NewKeys) -> tuple[str, ...]:
    """An encrypted file of variables, and what opens it."""
    password, vault = stage.files.parent / "vault-password", stage.files.parent / "vault.yml"
    password.write_text(VAULT_PASSWORD, encoding="utf-8")
    text = "".join(f"rotation_{name}: {value}\n" for name, value in keys.as_given().items())
    encrypted = subprocess.run(
        ["ansible-vault", "encrypt", "--vault-password-file", str(password), "--output", "-"],
        input=text, capture_output=True, text=True, check=True,
    )  # fmt: skip
    vault.write_text(encrypted.stdout, encoding="utf-8")
    return ("-e", f"@{vault}", "--vault-password-file", str(password))


@pytest.fixture(scope="module")
def rotated(stage: Stage) -> Rotated:
    operator, producer = stage.bus(), stage.bus("intent_bridge")
    stage.exchange.set_price(STOPPED, 30)
    # A pair with its own mark, so that the old one can be looked for as well.
    old = stage.accept(new_keys())
    assert stage.rotate(keys=old).code == 0
    producer.xadd(PLANS, opening(STOPPED, "7"))
    wait_until("the brain guards the position", lambda: guarded(stage))
    new = stage.accept(new_keys())
    with (
        Load(producer) as load,
        ReadyGap(operator) as gap,
        leaks.ProcessWatch([*old.values, *new.values]) as processes,
    ):
        process = stage.start(*vault_of(stage, new), "-vvv", "--diff")
        stage.wait_for_journal("switching")
        fell_at_ms = stage.exchange.now_ms()
        stage.exchange.set_price(STOPPED, stage.exchange.price(STOPPED) * FALL)
        text, _ = process.communicate(timeout=120)
        wait_until("the position is closed", lambda: not stage.exchange.position(STOPPED))
    took_s = float(text.rpartition(" s  proven")[0].rpartition("'")[2] or "nan")
    ended = Ended(process.returncode, text, took_s)
    assert ended.code == 0, text[-3000:]
    return Rotated(old, new, ended, load, gap, processes, fell_at_ms)


def guarded(stage: Stage) -> bool:
    rows = stage.status()["positions"]["rows"]
    return any(row["symbol"] == STOPPED and row["guard"] for row in rows)


def test_the_new_keys_are_in_use_and_the_old_are_reported(stage: Stage, rotated: Rotated) -> None:
    assert stage.uses(rotated.new)
    assert stage.present_keys() == rotated.new
    # The exchange of a sandbox would start with them.
    served = stage.variables("paper-exchange.env")
    assert tuple(served[f"PAPER_EXCHANGE_{name}"] for name in NAMES) == rotated.new.values
    assert "the old trading key is STILL VALID" in rotated.ended.text
    assert "not checked: withdrawal" in rotated.ended.text
    stage.assert_fit()


def test_it_keeps_its_budget(rotated: Rotated) -> None:
    assert rotated.ended.took_s < BUDGET_S


def test_no_plan_is_lost_or_doubled(stage: Stage, rotated: Rotated) -> None:
    rotated.load.assert_each_answered_once(stage.bus(), stage.exchange.orders)


def test_a_stop_that_triggers_meanwhile_executes_once(stage: Stage, rotated: Rotated) -> None:
    exits = [
        order
        for order in stage.exchange.orders()
        if order.accepted
        and order.params.get("symbol") == STOPPED
        and order.params.get("side") == "SELL"
        and order.params.get("type") == "MARKET"
        and (order.decided_ms or 0) >= rotated.fell_at_ms
    ]
    assert len(exits) == 1, exits
    assert (exits[0].decided_ms or 0) - rotated.fell_at_ms < 10_000


def test_the_gap_without_a_ready_executor_is_short(rotated: Rotated) -> None:
    assert len(rotated.gap.pids) == 2, "the executor was not seen restarting once"
    assert rotated.gap.longest_s < GAP_S, rotated.gap.longest_s


def test_nobody_is_told_a_secret(stage: Stage, rotated: Rotated) -> None:
    secrets = rotated.secrets
    assert leaks.in_text(rotated.ended.text, secrets) == []
    assert leaks.in_folder(stage.files, secrets) == []
    assert leaks.in_journal(stage, secrets) == []
    assert rotated.processes.rounds > 10
    assert rotated.processes.found == set()


def test_nothing_is_left_over(stage: Stage, rotated: Rotated) -> None:
    assert leaks.in_files(stage, rotated.new.values) == []
    assert leaks.in_files(stage, rotated.old.values, own_places=False) == []
    assert stage.run(f"ls -d {JOURNAL}", check=False).code != 0


def test_a_secret_that_is_told_is_found(stage: Stage) -> None:
    """The same searches, with one secret put into each place on purpose."""
    secrets = list(new_keys().values)
    one = secrets[2]
    stage.run(f"read -r x; logger note $x; echo $x >{LEFT_OVER}", stdin=f"{one}\n")
    leaked = stage.files / "left-over"
    try:
        leaked.write_text(one, encoding="utf-8")
        assert leaks.in_text(f"… {one} …", secrets)
        assert leaks.in_folder(stage.files, secrets) == [str(leaked)]
        assert leaks.in_journal(stage, secrets)
        assert leaks.in_files(stage, secrets) == [LEFT_OVER]
        with leaks.ProcessWatch(secrets) as watch:
            stage.run(f"SECRET={one} sleep 0.3; sh -c 'sleep 0.3; : {one}'")
        assert {word.split(" of")[0] for word in watch.found} == {"environment", "command line"}
    finally:
        leaked.unlink(missing_ok=True)
        stage.run(f"rm -f {LEFT_OVER}")
