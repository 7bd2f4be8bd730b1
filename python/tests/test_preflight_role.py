"""What a host is refused for before anything on it is changed."""

import http.server
import json
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paper_exchange.testing import PaperExchange

from .role_modules import load

ROLE = Path(__file__).resolve().parents[2] / "roles" / "preflight"
UTILS = ("quantum_envfile", "quantum_signed_read", "quantum_host_environment")
Serve = Callable[[bytes], str]


@pytest.fixture
def preflight(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in UTILS:
        full = f"ansible.module_utils.{name}"
        module = load(full, ROLE / "module_utils" / f"{name}.py")
        monkeypatch.setitem(sys.modules, full, module)
    return load("quantum_preflight", ROLE / "library" / "quantum_preflight.py")


@pytest.fixture(scope="module")
def exchange() -> Iterator[PaperExchange]:
    with PaperExchange() as running:
        yield running


@pytest.fixture
def host(tmp_path: Path) -> "Host":
    return Host(tmp_path)


class Host:
    """The files of a host."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path / "journal.json"
        self.files = (path, self.journal)

    def write(self, name: str, **variables: str) -> None:
        text = "".join(f"{key}={value}\n" for key, value in variables.items())
        (self.path / name).write_text(text)

    def deploy(self, environment: str, key: str, secret: str, url: str) -> None:
        """As the credentials role leaves it."""
        variables = {"BINANCE_TESTNET": str(environment == "testnet").lower()}
        variables |= {"BINANCE_API_KEY": key, "BINANCE_API_SECRET": secret}
        for name in ("exitbrain-v35", "position-state-brain", "intent-executor"):
            self.write(f"{name}.env", **variables, BINANCE_BASE_URL=url)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """An exchange that answers with this body; returns its address."""
    servers = []

    def start(body: bytes) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}/fapi/v1/time"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


DEBIAN = {"ID": "debian", "VERSION_ID": "13", "PRETTY_NAME": "Debian 13"}
SUPPORTED = {"debian": ["12", "13"]}


def system_faults(
    preflight: Any, monkeypatch: pytest.MonkeyPatch, free_mb: int = 600, **release: str
) -> list[str]:
    """Of a host that is fine but for what is given."""
    monkeypatch.setattr(preflight.platform, "freedesktop_os_release", lambda: {**DEBIAN, **release})
    monkeypatch.setattr(preflight.platform, "machine", lambda: release.get("machine", "x86_64"))
    monkeypatch.setattr(preflight.os, "geteuid", lambda: int(release.get("uid", "0")))
    monkeypatch.setattr(preflight.Path, "is_dir", lambda _: True)
    usage = shutil.disk_usage("/")._replace(free=free_mb * 1_000_000)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: usage)
    found: list[str] = preflight.faults(SUPPORTED, 500)
    return found


@pytest.mark.parametrize("version", ["12", "13"])
def test_a_supported_host_passes(
    preflight: Any, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    assert system_faults(preflight, monkeypatch, VERSION_ID=version) == []


@pytest.mark.parametrize(
    ("release", "word"),
    [
        ({"VERSION_ID": "11", "PRETTY_NAME": "Debian 11"}, "Debian 11 is not supported"),
        ({"ID": "ubuntu", "PRETTY_NAME": "Ubuntu"}, "supported are debian 12 or 13"),
        ({"machine": "armv7l"}, "armv7l is not supported"),
        ({"uid": "1000"}, "not root"),
    ],
)
def test_a_system_that_was_never_tried_is_refused(
    preflight: Any, monkeypatch: pytest.MonkeyPatch, release: dict[str, str], word: str
) -> None:
    (fault,) = system_faults(preflight, monkeypatch, **release)
    assert word in fault


def test_too_little_disk_is_refused_for_each_place(
    preflight: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = system_faults(preflight, monkeypatch, free_mb=499)
    assert [fault.split()[0] for fault in found] == ["/opt", "/var/lib"]
    assert all("499 MB free, 500 MB are needed" in fault for fault in found)


def at(offset_s: float) -> bytes:
    return json.dumps({"serverTime": round((time.time() + offset_s) * 1000)}).encode()


def test_a_clock_that_agrees_passes(preflight: Any, serve: Serve) -> None:
    assert preflight.clock_fault(serve(at(0.5))) == ("", "")


@pytest.mark.parametrize(("offset_s", "word"), [(5, "behind"), (-5, "ahead")])
def test_a_clock_off_by_more_than_a_second_is_refused(
    preflight: Any, serve: Serve, offset_s: float, word: str
) -> None:
    fault, not_compared = preflight.clock_fault(serve(at(offset_s)))
    assert word in fault
    assert not not_compared


@pytest.mark.parametrize("body", [b"", b"[]", b'{"serverTime": null}', b"<html>"])
def test_an_answer_that_is_none_compares_nothing(preflight: Any, serve: Serve, body: bytes) -> None:
    fault, not_compared = preflight.clock_fault(serve(body))
    assert not fault
    assert "was not compared" in not_compared


def test_an_exchange_that_is_not_there_is_no_fault(preflight: Any) -> None:
    fault, not_compared = preflight.clock_fault("http://127.0.0.1:1/fapi/v1/time")
    assert not fault
    assert "was not compared" in not_compared


@pytest.mark.parametrize(("environment", "other"), [("testnet", "mainnet"), ("mainnet", "testnet")])
def test_keys_of_the_other_environment_are_named_and_not_shown(
    preflight: Any, tmp_path: Path, environment: str, other: str
) -> None:
    name = f"BINANCE_{other.upper()}_API_KEY"
    (tmp_path / f"{environment}.env").write_text(f"{name}=canary\n")
    faults = preflight.environment_faults(environment, "", tmp_path, tmp_path / "none")
    assert len(faults) == 1
    assert name in faults[0]
    assert "canary" not in faults[0]


@pytest.mark.parametrize(
    ("line", "environment", "confirm", "refused"),
    [
        ("BINANCE_TESTNET=true", "testnet", "", False),
        ("BINANCE_TESTNET=true", "mainnet", "", True),
        ("BINANCE_TESTNET=true", "mainnet", "testnet", True),
        ("BINANCE_TESTNET=true", "mainnet", "mainnet", False),
        ('BINANCE_TESTNET="false"', "mainnet", "", False),
        ('BINANCE_TESTNET="false"', "testnet", "", True),
    ],
)
def test_a_host_moves_to_another_exchange_only_when_told_so(
    preflight: Any, tmp_path: Path, line: str, environment: str, confirm: str, refused: bool
) -> None:
    (tmp_path / "exitbrain-v35.env").write_text(f"{line}\nUSE_BINANCE_TESTNET=true\n")
    assert refused is bool(
        preflight.environment_faults(environment, confirm, tmp_path, tmp_path / "none")
    )


def test_a_bare_host_has_no_environment(preflight: Any, tmp_path: Path) -> None:
    assert preflight.environment_faults("mainnet", "", tmp_path, tmp_path / "none") == []


def test_a_word_for_another_environment_is_refused(preflight: Any, host: Host) -> None:
    (fault,) = preflight.environment_faults("testnet", "mainnet", *host.files)
    assert "confirm=mainnet was given, but this inventory is for testnet" in fault


def test_a_move_that_was_cut_off_is_still_a_move(preflight: Any, host: Host) -> None:
    """Its files speak of the new environment already; the account is the one that was left."""
    host.deploy("mainnet", "key", "secret", "http://127.0.0.1:1")
    host.journal.write_text('{"left": "testnet", "target": "mainnet"}')
    assert preflight.environment_faults("mainnet", "", *host.files)
    assert preflight.is_switching("mainnet", *host.files)
    assert preflight.is_switching("testnet", *host.files)


def findings(
    preflight: Any, host: Host, url: str, given: dict[str, str] | None = None
) -> tuple[list[str], list[str]]:
    found: tuple[list[str], list[str]]
    found = preflight.key_findings("mainnet", url, given or {}, *host.files)
    told = "".join(found[0] + found[1])
    assert "canary" not in told
    return found


def test_keys_that_the_exchange_accepts_pass(
    preflight: Any, host: Host, exchange: PaperExchange
) -> None:
    host.write(
        "mainnet.env",
        BINANCE_MAINNET_API_KEY=exchange.api_key,
        BINANCE_MAINNET_SECRET_KEY=exchange.secret_key,
    )
    assert findings(preflight, host, exchange.base_url) == ([], [])


@pytest.mark.parametrize("wrong", ["key", "secret"])
def test_keys_of_another_exchange_are_refused(
    preflight: Any, host: Host, exchange: PaperExchange, wrong: str
) -> None:
    key = "canary" if wrong == "key" else exchange.api_key
    given = {"API_KEY": key, "SECRET_KEY": "canary"}
    faults, warnings = findings(preflight, host, exchange.base_url, given)
    assert len(faults) == 1
    assert "the trading key of mainnet is refused" in faults[0]
    assert warnings == []


def test_a_dead_key_that_the_host_runs_with_does_not_stop_a_deployment(
    preflight: Any, host: Host, exchange: PaperExchange
) -> None:
    host.write("mainnet.env", BINANCE_MAINNET_API_KEY="canary", BINANCE_MAINNET_SECRET_KEY="canary")
    host.deploy("mainnet", "canary", "canary", exchange.base_url)
    faults, (warning,) = findings(preflight, host, exchange.base_url)
    assert faults == []
    assert "Rotate it" in warning


def test_a_key_that_is_also_the_other_environments_is_never_sent(
    preflight: Any, host: Host
) -> None:
    host.write("testnet.env", BINANCE_TESTNET_API_KEY="canary", BINANCE_TESTNET_SECRET_KEY="other")
    given = {"API_KEY": "canary", "SECRET_KEY": "canary"}
    (fault,), _ = findings(preflight, host, "http://127.0.0.1:1", given)
    assert "is also in" in fault
    assert "testnet.env" in fault


@pytest.mark.parametrize("address", ["http://192.0.2.1:1", "https://127.0.0.1:1"])
def test_keys_that_could_not_be_proven_refuse_a_move_alone(
    preflight: Any, host: Host, address: str
) -> None:
    given = {"API_KEY": "canary", "SECRET_KEY": "canary"}
    assert findings(preflight, host, address, given)[0] == []
    host.deploy("testnet", "other", "other", address)
    (fault,), _ = findings(preflight, host, address, given)
    assert "was not proven" in fault


def leaving(preflight: Any, host: Host, *asked: str) -> list[str]:
    found: list[str] = preflight.leaving_faults("mainnet", *asked, *host.files)
    return found


def test_a_host_leaves_an_account_only_when_it_is_flat(
    preflight: Any, host: Host, exchange: PaperExchange
) -> None:
    host.deploy("testnet", exchange.api_key, exchange.secret_key, exchange.base_url)
    assert leaving(preflight, host, "", "") == []
    exchange.set_position("BTCUSDT", "0.5")
    try:
        (fault,) = leaving(preflight, host, "", "")
        assert "BTCUSDT 0.5" in fault
        assert leaving(preflight, host, "", "leave") == []
        assert preflight.leaving_faults("testnet", "", "", *host.files) == []
    finally:
        exchange.set_position("BTCUSDT", 0)


def test_an_account_that_cannot_be_seen_is_not_flat(preflight: Any, host: Host) -> None:
    host.deploy("testnet", "key", "secret", "http://127.0.0.1:1")
    (fault,) = leaving(preflight, host, "", "")
    assert "could not be read" in fault
    assert "positions=leave" in fault


def test_nobody_arrives_live(preflight: Any, host: Host) -> None:
    host.deploy("testnet", "key", "secret", "http://127.0.0.1:1")
    (fault,) = leaving(preflight, host, "live", "leave")
    assert "SHADOW" in fault
