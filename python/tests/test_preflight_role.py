"""What a host is refused for before anything on it is changed."""

import http.server
import importlib.util
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "roles" / "preflight" / "library"
Serve = Callable[[bytes], str]


@pytest.fixture
def preflight() -> Any:
    path = LIBRARY / "quantum_preflight.py"
    spec = importlib.util.spec_from_file_location("quantum_preflight", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    faults = preflight.environment_faults(environment, "", tmp_path)
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
    assert bool(preflight.environment_faults(environment, confirm, tmp_path)) is refused


def test_a_bare_host_has_no_environment(preflight: Any, tmp_path: Path) -> None:
    assert preflight.environment_faults("mainnet", "", tmp_path) == []
