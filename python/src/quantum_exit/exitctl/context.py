"""What every command of exitctl is given: settings, output, and errors that name the mend."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import redis

OPERATOR_ENV: Final = "/etc/quantum/operator.env"

EXIT_DONE: Final = 0
EXIT_PARTLY: Final = 1
EXIT_FAILED: Final = 2
EXIT_COULD_NOT_RUN: Final = 3


class CommandError(Exception):
    """It was refused or could not be done; the text names the thing and the mend."""

    def __init__(self, text: str, exit_code: int = EXIT_COULD_NOT_RUN) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Context:
    """The environment (that of the process, completed from the operator's file) and the form
    of the output."""

    environ: Mapping[str, str]
    json_output: bool
    lost: list[str] = field(default_factory=list)
    """Why an answer was cut off, if it was. Whoever acted has acted all the same."""

    def emit(self, document: Mapping[str, object], text: str) -> None:
        """One answer, in the form that was asked for."""
        self.tell(_json(document) if self.json_output else _printable(text))

    def tell(self, text: str) -> None:
        """As it is, and a line break. Never raises for what becomes of it: the exit status tells
        what was done, also where the disk is full or whoever read it has left."""
        if sys.stdout is None:
            return
        try:
            print(text, flush=True)
        except BrokenPipeError:
            _hush()
        except OSError as error:
            self.lost.append(f"the answer was cut off: {error.strerror}")
            _hush()

    def redis(self) -> redis.Redis:
        """A client that speaks str. Raises CommandError when Redis does not answer."""
        import redis

        from quantum_exit.bus.connection import connect
        from quantum_exit.settings import ConfigError, redis_url

        try:
            client = connect(redis_url(self.environ), decode=True, name="exitctl")
            client.ping()
        except ConfigError as error:
            raise CommandError(f"{error}, or run this as root on the host") from None
        except redis.AuthenticationError as error:
            raise CommandError(
                f"Redis refuses the login ({error}): compare REDIS_URL with Redis's users"
            ) from None
        except redis.RedisError as error:
            raise CommandError(
                f"Redis does not answer ({error}): see `systemctl status redis-server`"
            ) from None
        return client


def _hush() -> None:
    """What is left in the buffer has nowhere to go, and must not fail again at the end."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _json(document: Mapping[str, object]) -> str:
    text = json.dumps(document, default=str, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(document, default=str)


def _printable(text: str) -> str:
    """Texts of others may hold what a terminal obeys."""
    if all(line.isprintable() for line in text.split("\n")):
        return text
    from quantum_exit.exitctl.plain import plain  # a kill starts without it

    return "\n".join(plain(line, len(line)) for line in text.split("\n"))


def load_environ(process: Mapping[str, str], env_file: str) -> dict[str, str]:
    """The process's environment; without REDIS_URL, completed from the operator's file.

    A file that is missing or may not be read is no error here: the command that needs a
    setting says which one is missing. One that is malformed is.
    """
    if process.get("REDIS_URL", "").strip():
        return dict(process)
    try:
        text = Path(env_file).read_text(encoding="utf-8")
    except FileNotFoundError:
        return dict(process)
    except PermissionError:
        raise CommandError(f"{env_file} is for root alone: run this with sudo") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{env_file} cannot be read: {error}") from None
    from quantum_exit.envfile import EnvFileError, parse

    try:
        return {**parse(text), **process}
    except EnvFileError as error:
        raise CommandError(f"{env_file}, {error}") from None


def say_error(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody is left to be told
        print(f"exitctl: {_printable(text)}", file=sys.stderr, flush=True)
