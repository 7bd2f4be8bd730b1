"""Fixtures for every test: a real Redis of our own, and where the recorded data lies."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from quantum_exit.bus.connection import connect

if TYPE_CHECKING:
    from .stack import Stack  # which imports from here

REPOSITORY = Path(__file__).resolve().parents[2]


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has what it runs in the background ignore Ctrl-C, and so would all that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the long campaigns too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    skip = pytest.mark.skip(reason="long: run with --long")
    for item in items:
        if "long" in item.keywords:
            item.add_marker(skip)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """One for 127.0.0.1: the context of who has it, and that of who trusts it."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.load_verify_locations(cert)
    return server, trust


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The recorded market data; tests that need it are skipped where it is absent."""
    path = Path(os.environ.get("QUANTUM_DATA", REPOSITORY.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no recorded data at {path} (set QUANTUM_DATA)")
    return path


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class RedisServer:
    """A real redis-server on loopback, which a test may kill and start again."""

    def __init__(self, directory: Path, *, durable: bool) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._directory = directory
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, loaded: bool = True) -> None:
        """`loaded`: wait until it has read its file; otherwise until it says that it still does."""
        binary = shutil.which("redis-server")
        assert binary, "redis-server is not installed: ./quantum test installs it"
        persistence = ("--appendonly", "yes", "--appendfsync", "always") if self._durable else ()
        self._process = subprocess.Popen(
            [
                *(binary, "--port", str(self.port), "--bind", "127.0.0.1"),
                *("--dir", str(self._directory), "--save", "", *persistence),
                *("--maxmemory-policy", "noeviction", *options),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        client = connect(self.url)
        condition = _answers if loaded else _is_loading
        wait_for(lambda: condition(client), f"redis-server on port {self.port}")
        client.close()

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def client(self) -> redis.Redis:
        """Speaks str, not bytes."""
        return connect(self.url, decode=True)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _is_loading(client: redis.Redis) -> bool:
    try:
        client.ping()
    except redis.BusyLoadingError:
        return True
    except redis.RedisError:
        return False
    raise AssertionError("it has read its file already")


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
    """Polls until `condition()` is true; fails naming `what` when it never is."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), durable=False)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> str:
    """The URL of an empty Redis."""
    client = shared_redis.client()
    client.flushall()
    client.close()
    return shared_redis.url


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """An empty Redis that speaks str."""
    client = connect(redis_url, decode=True)
    yield client
    client.close()


@pytest.fixture
def stack(redis_url: str, tmp_path: Path) -> Iterator[Stack]:
    """Everything running, LIVE, with a policy for two symbols and the switch off."""
    from paper_exchange.testing import PaperExchange

    from .stack import Stack

    with PaperExchange() as exchange:
        one = Stack(redis_url, exchange, tmp_path)
        one.switch(active=False)
        one.publish_policy(["AVAXUSDT", "BTCUSDT"])
        try:
            one.start()
            yield one
        finally:
            one.stop()


@pytest.fixture
def durable_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, as deployed (every write on disk), to kill and restart."""
    server = RedisServer(tmp_path, durable=True)
    server.start()
    yield server
    server.kill()
