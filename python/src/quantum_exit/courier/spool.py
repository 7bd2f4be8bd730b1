"""The courier's own disk: what was taken, and who has still to get it. One SQLite file.

An alert is in here, synced, before it is acknowledged to Redis, and leaves a destination's queue
only after that destination has said yes. A process that dies between two such steps repeats the
second one, so a destination may see an alert twice after a kill -9; it never misses one.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from quantum_exit.courier import repeats
from quantum_exit.courier.taken import Taken, load

DEADMAN: Final = "deadman"
"""The queue that is fed by canaries alone, and only once everybody else has them."""
KEEP_S: Final = 30 * 86_400.0
"""For as long an alert that comes a second time is known by its id."""
KEEP_MOST: Final = 200_000
"""Of those that wait for nobody. More than the stream holds: one that is read anew from its
beginning is known whole."""
_BUSY_S: Final = 10.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS alerts (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, alert_id TEXT NOT NULL UNIQUE, stream_id TEXT NOT NULL,
  type TEXT NOT NULL, severity TEXT NOT NULL, taken_epoch REAL NOT NULL, document TEXT NOT NULL,
  repeat INTEGER NOT NULL, delivered_epoch REAL NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS repeated ON alerts (seq) WHERE repeat = 1;
CREATE INDEX IF NOT EXISTS canaries ON alerts (delivered_epoch) WHERE type = 'CANARY';
CREATE TABLE IF NOT EXISTS waiting (
  destination TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (destination, seq)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS waiting_seq ON waiting (seq);
CREATE TABLE IF NOT EXISTS windows (
  subject TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, began_epoch REAL NOT NULL,
  until_epoch REAL NOT NULL, repeats INTEGER NOT NULL, last TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS destinations (
  name TEXT PRIMARY KEY, last_epoch REAL NOT NULL DEFAULT 0, trouble TEXT NOT NULL DEFAULT '')
  WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    seq: int
    alert: Taken


class Spool:
    """A connection for one thread. Every method may raise sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")  # committed means on the disk
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # taking

    def serve(self, destinations: Sequence[str]) -> None:
        """Who gets alerts from now on. What waits for somebody who is no more waits for nobody."""
        marks = ",".join("?" * len(destinations))
        with self._all_or_nothing() as db:
            gone = f"NOT IN ({marks})"  # question marks only
            db.execute(f"DELETE FROM waiting WHERE destination {gone}", destinations)  # noqa: S608
            db.execute(f"DELETE FROM destinations WHERE name {gone}", destinations)  # noqa: S608
            rows = [(name,) for name in destinations]
            db.executemany("INSERT OR IGNORE INTO destinations (name) VALUES (?)", rows)
            open_ = db.execute("SELECT seq FROM alerts WHERE repeat = 0 AND delivered_epoch = 0")
            self._note_delivered(db, [row[0] for row in open_.fetchall()], time.time())

    def take(self, alerts: Sequence[Taken], window_s: float, now_epoch: float) -> list[Taken]:
        """All of them, in one synced step. Returns those that are new and no repeats."""
        with self._all_or_nothing() as db:
            return [one for one in alerts if self._take(db, one, window_s, now_epoch)]

    def close_windows(self, now_epoch: float) -> int:
        """Windows that are over: what came back within them is told. Returns how many were."""
        over = self._db.execute(
            "SELECT subject, began_epoch, repeats, last FROM windows WHERE until_epoch <= ?",
            (now_epoch,),
        ).fetchall()
        if not over:
            return 0
        with self._all_or_nothing() as db:
            for subject, began, count, last in over:
                db.execute("DELETE FROM windows WHERE subject = ?", (subject,))
                if count:
                    told = repeats.summary(load(last), count, began, now_epoch)
                    self._insert(db, told, repeat=False, now_epoch=now_epoch)
        return len(over)

    def _take(
        self, db: sqlite3.Connection, alert: Taken, window_s: float, now_epoch: float
    ) -> bool:
        known = db.execute("SELECT 1 FROM alerts WHERE alert_id = ?", (alert.alert_id,))
        if known.fetchone():
            return False
        subject = repeats.subject(alert)
        repeat = subject is not None and self._is_repeat(db, subject, alert, window_s, now_epoch)
        self._insert(db, alert, repeat=repeat, now_epoch=now_epoch)
        return not repeat

    def _is_repeat(
        self,
        db: sqlite3.Connection,
        subject: str,
        alert: Taken,
        window_s: float,
        now_epoch: float,
    ) -> bool:
        print_ = repeats.fingerprint(alert)
        row = db.execute(
            "SELECT fingerprint, until_epoch, began_epoch, repeats, last FROM windows "
            "WHERE subject = ?",
            (subject,),
        ).fetchone()
        # A window far ahead was opened by a clock that has been set back since.
        if row and row[0] == print_ and now_epoch < row[1] <= now_epoch + window_s:
            db.execute(
                "UPDATE windows SET repeats = repeats + 1, last = ? WHERE subject = ?",
                (alert.dump(), subject),
            )
            return True
        if row and row[3]:
            told = repeats.summary(load(row[4]), row[3], row[2], now_epoch)
            self._insert(db, told, repeat=False, now_epoch=now_epoch)
        db.execute(
            "INSERT OR REPLACE INTO windows VALUES (?, ?, ?, ?, 0, '')",
            (subject, print_, now_epoch, now_epoch + window_s),
        )
        return False

    def _insert(
        self, db: sqlite3.Connection, alert: Taken, *, repeat: bool, now_epoch: float
    ) -> None:
        added = db.execute(
            "INSERT OR IGNORE INTO alerts "
            "(alert_id, stream_id, type, severity, taken_epoch, document, repeat) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                *(alert.alert_id, alert.stream_id, alert.type, alert.severity),
                *(now_epoch, alert.dump(), int(repeat)),
            ),
        )
        if repeat or not added.rowcount:
            return
        if not alert.is_drill:
            db.execute(
                "INSERT INTO waiting SELECT name, ? FROM destinations WHERE ? OR name != ?",
                (added.lastrowid, alert.is_canary, DEADMAN),
            )
        self._note_delivered(db, [added.lastrowid], now_epoch)

    # delivering

    def next_for(self, destination: str, most: int) -> list[Waiting]:
        """The oldest that it has not got yet, in order."""
        after_all = (
            "AND NOT EXISTS (SELECT 1 FROM waiting o WHERE o.seq = w.seq AND o.destination != ?2) "
            if destination == DEADMAN
            else ""
        )
        query = (
            "SELECT w.seq, a.document FROM waiting w JOIN alerts a USING (seq) "  # noqa: S608 - own text
            f"WHERE w.destination = ?2 {after_all}ORDER BY w.seq LIMIT ?1"
        )
        rows = self._db.execute(query, (most, destination)).fetchall()
        return [Waiting(seq, load(document)) for seq, document in rows]

    def count_for(self, destination: str) -> int:
        found = self._db.execute(
            "SELECT count(*) FROM waiting WHERE destination = ?", (destination,)
        ).fetchone()
        return int(found[0])

    def delivered(self, destination: str, seqs: Sequence[int], now_epoch: float) -> None:
        with self._all_or_nothing() as db:
            rows = [(destination, seq) for seq in seqs]
            db.executemany("DELETE FROM waiting WHERE destination = ? AND seq = ?", rows)
            db.execute(
                "UPDATE destinations SET last_epoch = ?, trouble = '' WHERE name = ?",
                (now_epoch, destination),
            )
            self._note_delivered(db, seqs, now_epoch)

    def trouble(self, destination: str, text: str) -> None:
        self._db.execute(
            "UPDATE destinations SET trouble = ? WHERE name = ? AND trouble != ?",
            (text, destination, text),
        )

    def _note_delivered(
        self, db: sqlite3.Connection, seqs: Sequence[int | None], now_epoch: float
    ) -> None:
        db.executemany(
            "UPDATE alerts SET delivered_epoch = ? WHERE seq = ? AND delivered_epoch = 0 "
            "AND NOT EXISTS (SELECT 1 FROM waiting w WHERE w.seq = alerts.seq "
            "AND w.destination != ?)",
            [(now_epoch, seq, DEADMAN) for seq in seqs],
        )

    # telling

    def record(self) -> dict[str, str]:
        """The fields of `keys.ALERTS_DELIVERED`."""
        names = [row[0] for row in self._db.execute("SELECT name FROM destinations ORDER BY name")]
        one = self._one
        last = one(
            "SELECT alert_id, type, delivered_epoch FROM alerts "
            "WHERE delivered_epoch > 0 ORDER BY seq DESC LIMIT 1"
        ) or ("", "", 0.0)
        last_id = one(
            "SELECT stream_id FROM alerts WHERE stream_id != '' AND delivered_epoch > 0 "
            "ORDER BY seq DESC LIMIT 1"
        )
        spooled = one(
            "SELECT stream_id FROM alerts WHERE stream_id != '' ORDER BY seq DESC LIMIT 1"
        )
        canary = one("SELECT max(delivered_epoch) FROM alerts WHERE type = 'CANARY'")
        waiting = one("SELECT count(DISTINCT seq) FROM waiting WHERE destination != 'deadman'")
        fields = {
            "destinations": ",".join(name for name in names if name != DEADMAN),
            "waiting": str(waiting[0]),
            "spooled_id": spooled[0] if spooled else "",
            "last_id": last_id[0] if last_id else "",
            "last_alert_id": last[0],
            "last_type": last[1],
            "last_epoch": f"{last[2]:.3f}",
            "repeats": str(one("SELECT count(*) FROM alerts WHERE repeat = 1")[0]),
            "canary_epoch": f"{(canary and canary[0]) or 0:.3f}",
        }
        for name, last_epoch, trouble in self._db.execute("SELECT * FROM destinations"):
            fields[f"{name}:last_epoch"] = f"{last_epoch:.3f}"
            fields[f"{name}:waiting"] = str(self.count_for(name))
            fields[f"{name}:trouble"] = trouble
        return fields

    def recent(self, most: int) -> list[dict[str, Any]]:
        """Newest first, as `keys.ALERTS_RECENT` says."""
        rows = self._db.execute(
            "SELECT alert_id, stream_id, type, severity, taken_epoch, repeat, delivered_epoch "
            "FROM alerts ORDER BY seq DESC LIMIT ?",
            (most,),
        )
        return [
            {
                "alert_id": alert_id,
                "stream_id": stream_id,
                "type": kind,
                "severity": severity,
                "taken_epoch": taken,
                "outcome": "repeat" if repeat else "delivered" if delivered else "waiting",
                "delivered_epoch": delivered,
            }
            for alert_id, stream_id, kind, severity, taken, repeat, delivered in rows
        ]

    def forget_old(self, now_epoch: float) -> None:
        newest = self._one("SELECT coalesce(max(seq), 0) FROM alerts")[0]
        self._db.execute(
            "DELETE FROM alerts WHERE (taken_epoch < ? OR seq <= ?) "
            "AND (repeat = 1 OR delivered_epoch > 0) "
            "AND NOT EXISTS (SELECT 1 FROM waiting w WHERE w.seq = alerts.seq)",
            (now_epoch - KEEP_S, newest - KEEP_MOST),
        )

    def _one(self, query: str) -> Any:
        return self._db.execute(query).fetchone()


def open_spool(path: Path) -> tuple[Spool, str]:
    """The spool, and what happened if the one that lay there was broken and was put aside."""
    try:
        spool = Spool(path)
        sound = spool._one("PRAGMA quick_check")[0] == "ok"
    except sqlite3.OperationalError:
        raise  # locked, full, not writable: the file itself may be sound
    except sqlite3.DatabaseError:
        sound = False
    else:
        if sound:
            return spool, ""
        spool.close()
    aside = path.with_name(f"{path.name}.broken-{int(time.time())}")
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return Spool(path), f"the spool was broken and was put aside as {aside}; alerts may be lost"
