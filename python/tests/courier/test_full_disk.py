"""What the courier does when there is no room for its record."""

from __future__ import annotations

import resource
from pathlib import Path

import redis

from ..conftest import wait_for
from ..stack import run_module
from .conftest import CourierProcess, pending, raise_alert, wait_recorded
from .receiver import Receiver


def test_a_full_disk_is_told_from_memory_and_loses_nothing(
    courier: CourierProcess, receiver: Receiver, redis_client: redis.Redis
) -> None:
    courier.start()
    sent = [raise_alert(redis_client, n=1)]
    wait_for(lambda: receiver.ids() == sent, "the first")
    assert courier.process is not None
    _, most = resource.prlimit(courier.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(courier.process.pid, resource.RLIMIT_FSIZE, (0, most))
    sent += [raise_alert(redis_client, n=n) for n in range(2, 7)]
    wait_for(lambda: receiver.ids() == sent, "the others, from memory", 30)
    assert pending(redis_client) == 5, "nothing is acknowledged that lies nowhere"
    resource.prlimit(courier.process.pid, resource.RLIMIT_FSIZE, (most, most))
    wait_for(lambda: pending(redis_client) == 0, "spooled", 20)
    wait_recorded(redis_client, waiting="0")
    assert list(dict.fromkeys(receiver.ids())) == sent


def test_started_with_a_full_disk_it_tells_from_memory_and_loses_nothing(
    courier: CourierProcess, receiver: Receiver, redis_client: redis.Redis
) -> None:
    courier.state.rmdir()
    courier.state.write_text("no directory")
    sent = [raise_alert(redis_client, n=n) for n in range(5)]
    courier.start()
    wait_for(lambda: receiver.ids() == sent, "all, from memory", 30)
    assert pending(redis_client) == 5, "nothing is acknowledged that lies nowhere"
    courier.state.unlink()
    wait_for(lambda: pending(redis_client) == 0, "spooled", 20)
    wait_recorded(redis_client, waiting="0")
    assert list(dict.fromkeys(receiver.ids())) == sent


def test_what_cannot_be_put_on_the_disk_is_put_into_memory(
    tmp_path: Path, courier: CourierProcess, receiver: Receiver
) -> None:
    memory = tmp_path / "run"
    memory.mkdir()
    full = tmp_path / "full"
    full.write_text("no directory")
    environ = {
        **courier.environ,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "RUNTIME_DIRECTORY": str(memory),
    }
    module = "quantum_exit.courier.raise_alert"
    done = run_module(module, ["canary"], {**environ, "ALERTS_STATE_DIRECTORY": str(full)})
    assert done.code == 0, done
    courier.start({"RUNTIME_DIRECTORY": str(memory)})
    wait_for(lambda: [r.document["alert_type"] for r in receiver.got] == ["CANARY"], "it", 20)
    wait_for(lambda: not list((memory / "drop").iterdir()), "put away")
