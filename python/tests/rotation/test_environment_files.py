"""New exchange keys on a host that knows two environments."""

from __future__ import annotations

from pathlib import Path

from quantum_exit.rotation.exchange_keys import Pair
from quantum_exit.rotation.kinds import EnvFiles, Keys

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
