"""Redis's passwords: in its ACL file, and in the running server. Two hold at a time in between."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

import redis

from quantum_exit.bus.connection import connect
from quantum_exit.rotation import files
from quantum_exit.rotation.errors import RotationError

MAINTENANCE: Final = "maintenance"
_HASH: Final = re.compile(r"(?: #[0-9a-f]{64})+")
_REVISION: Final = re.compile(r"user revision-[0-9a-f]{16} ")


def hashed(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def with_hashes(text: str, hashes: Mapping[str, Iterable[str]]) -> str:
    """The ACL file with these password hashes of these users; its revision follows."""
    lines = []
    for line in text.splitlines():
        if _REVISION.match(line):
            continue
        words = line.split(" ", 2)
        if words[0] == "user" and words[1] in hashes:
            new = "".join(f" #{digest}" for digest in hashes[words[1]])
            line = _HASH.sub(new, line, count=1)
        lines.append(line)
    revision = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    lines.append(f"user revision-{revision} off sanitize-payload resetchannels -@all")
    return "\n".join(lines) + "\n"


def revision_of(text: str) -> str:
    found = re.search(r"^user (revision-[0-9a-f]{16}) ", text, re.MULTILINE)
    return found.group(1) if found else ""


def url_with(url: str, password: str) -> str:
    """The same address and user with another password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:{quote(password, safe='')}@{host}"))


def user_of(url: str) -> str:
    return urlsplit(url).username or ""


class Accounts:
    """The ACL file and the server at `address` (host:port)."""

    def __init__(self, file: Path, address: str) -> None:
        self.file = file
        self._address = address

    def accept(self, hashes: Mapping[str, Iterable[str]], login: str) -> None:
        """From now on each user has exactly the passwords of these hashes; nobody is disconnected.

        `login`: a password of the maintenance user that works now. The file comes first: a
        server that is restarted in between knows them too.
        """
        text = files.read(self.file)
        if text is None:
            raise RotationError(f"{self.file} is missing: deploy first")
        wanted = with_hashes(text, hashes)
        client = self._connect(MAINTENANCE, login)
        status = self.file.stat()
        files.write(self.file, wanted, mode=status.st_mode & 0o7777, gid=status.st_gid)
        try:
            for user, digests in hashes.items():
                words = ["resetpass", *(f"#{digest}" for digest in digests)]
                _acl(client, "SETUSER", user, *words)
            off = ("off", "sanitize-payload", "resetchannels", "-@all")
            _acl(client, "SETUSER", revision_of(wanted), *off)
            if revision_of(text) != revision_of(wanted):
                _acl(client, "DELUSER", revision_of(text))
        except redis.exceptions.NoPermissionError:
            raise RotationError(
                "Redis's maintenance user may not change passwords: deploy the current roles "
                "(ansible/site.yml), then run this again"
            ) from None
        except redis.RedisError as error:
            raise RotationError(f"Redis did not take the passwords: {error}") from None
        finally:
            client.close()

    def disconnect(self, users: Iterable[str], login: str, older_than_s: float = 0.0) -> None:
        """Close their connections, all or the older ones: a password is asked for once, when one
        is opened."""
        client, named = self._connect(MAINTENANCE, login), frozenset(users)
        try:
            for each in client.client_list():
                if each["user"] in named and int(each["age"]) >= older_than_s:
                    client.client_kill_filter(_id=each["id"])
        except redis.RedisError as error:
            raise RotationError(
                f"Redis did not close the connections of before ({error}): deploy the current "
                "roles (ansible/site.yml), then run this again"
            ) from None
        finally:
            client.close()

    def check(self, user: str, password: str) -> None:
        """Raises RotationError when Redis does not let the user in."""
        self._connect(user, password).close()

    def _connect(self, user: str, password: str) -> redis.Redis:
        client = connect(
            f"redis://{user}:{quote(password, safe='')}@{self._address}/0", decode=True
        )
        try:
            client.ping()
        except redis.AuthenticationError:
            client.close()
            raise RotationError(f"Redis refuses the password of {user}") from None
        except redis.RedisError as error:
            client.close()
            raise RotationError(
                f"Redis does not answer ({error}): see `systemctl status redis-server`"
            ) from None
        return client


def _acl(client: redis.Redis, *words: str) -> None:
    client.execute_command("ACL", *words)  # type: ignore[no-untyped-call]  # of redis-py
