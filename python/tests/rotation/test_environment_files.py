"""New exchange keys on a host that knows two environments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from quantum_exit.rotation.errors import RotationError
from quantum_exit.rotation.exchange_keys import Pair
from quantum_exit.rotation.journal import Kind
from quantum_exit.rotation.kinds import EnvFiles, Keys
from quantum_exit.rotation.run import Request, Rotation
from quantum_exit.rotation.transaction import Report

OLD = {"trade": Pair("trade-old", "s"), "read": Pair("read-old", "s")}
NEW = Keys(trade=Pair("trade-new", "s"), read=Pair("read-new", "s"))


def write(path: Path, pair: Pair, *, testnet: bool) -> None:
    flag = str(testnet).lower()
    path.write_text(
        f"BINANCE_TESTNET={flag}\nBINANCE_API_KEY={pair.key}\nBINANCE_API_SECRET={pair.secret}\n"
    )


def test_the_environments_own_files_follow_and_the_others_stay(tmp_path: Path) -> None:
    for service, pair in (("exitbrain-v35", "read"), ("intent-executor", "trade")):
        write(tmp_path / f"{service}.env", OLD[pair], testnet=True)
        short = service.removesuffix("-v35")
        write(tmp_path / f"{short}-testnet.env", OLD[pair], testnet=True)
        write(tmp_path / f"{short}-mainnet.env", OLD[pair], testnet=False)
    (tmp_path / "testnet.env").write_text("BINANCE_TESTNET_API_KEY=trade-old\n")
    files = EnvFiles(tmp_path, "testnet")
    assert files.keys_in_use() == Keys(OLD["trade"], OLD["read"])
    change = files.exchange_change(NEW, {"BINANCE_TESTNET_API_KEY": "trade-new"})
    keys = {
        name: next(word for word in ("trade-new", "read-new") if word in text)
        for name, text in change.new.items()
    }
    assert keys == {
        "exitbrain-v35.env": "read-new",
        "exitbrain-testnet.env": "read-new",
        "intent-executor.env": "trade-new",
        "intent-executor-testnet.env": "trade-new",
        "testnet.env": "trade-new",
    }


def test_what_a_write_that_was_killed_left_behind_is_no_file_of_a_service(tmp_path: Path) -> None:
    for name, pair in (("exitbrain-v35", OLD["read"]), ("intent-executor", OLD["trade"])):
        write(tmp_path / f"{name}.env", pair, testnet=True)
    write(tmp_path / ".new-exitbrain-v35.env", Pair("read-aborted", "s"), testnet=True)
    (tmp_path / "testnet.env").write_text("BINANCE_TESTNET_API_KEY=trade-old\n")
    files = EnvFiles(tmp_path, "testnet")
    assert files.keys_in_use() == Keys(OLD["trade"], OLD["read"])
    assert not [name for name in files.exchange_change(NEW, {}).new if name.startswith(".")]


def test_it_does_not_stay_on_disk(tmp_path: Path) -> None:
    (tmp_path / "redis.env").write_text(f"REDIS_PASSWORD_MAINTENANCE={'0' * 64}\n")
    leftover = tmp_path / ".new-testnet.env"
    leftover.write_text("BINANCE_TESTNET_SECRET_KEY=secret\n")
    request = Request(Kind.PRODUCERS, "testnet", directory=tmp_path)
    with pytest.raises(RotationError, match="no producer"):
        Rotation(replace(request, check_only=True), Report()).run()
    assert leftover.exists(), "a check changes nothing"
    with pytest.raises(RotationError, match="no producer"):
        Rotation(request, Report()).run()
    assert not leftover.exists()
