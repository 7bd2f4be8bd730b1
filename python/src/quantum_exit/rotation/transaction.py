"""One change of secrets: staged, switched, proven; or undone, whatever stops it.

What is staged counts from the moment the journal is on disk. From then on a failure here, or the
next run after a kill or a reboot, either finishes the change or brings the old values back.
"""

from __future__ import annotations

import syslog
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from quantum_exit.executor import failpoints
from quantum_exit.rotation import files
from quantum_exit.rotation.errors import RotationError, told
from quantum_exit.rotation.journal import Entry, Journal, Kind, Phase
from quantum_exit.rotation.kinds import Change
from quantum_exit.rotation.rebind import rebind, variables
from quantum_exit.rotation.services import Condition, Host, restarted_text


@dataclass
class Report:
    """What was done, in lines for a person; also to the system's journal. No secrets."""

    lines: list[str] = field(default_factory=list)
    changed: bool = False
    began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        self.lines.append(f"{time.monotonic() - self.began:6.2f} s  {text}")
        syslog.syslog(syslog.LOG_NOTICE, f"rotation: {text}")


Step = Callable[[], None]


def nothing() -> None:
    """A step that is not needed."""


@dataclass(frozen=True)
class Steps:
    """What a kind of secret needs beside its files. `tidy` may run more than once."""

    prepare: Step = nothing
    """Before the switch: makes both old and new secrets work."""
    check: Step = nothing
    """After the services run with the new secrets, beside the proof."""
    tidy: Step = nothing
    """Makes what is in the files the only secrets that work."""


class Transaction:
    def __init__(self, journal: Journal, host: Host, report: Report) -> None:
        self._journal = journal
        self._host = host
        self._report = report

    def run(self, kind: Kind, change: Change, before: Condition, steps: Steps) -> Entry:
        """Returns the journal's entry, PROVEN. On a failure the old secrets are back in use and
        the error says where it failed."""
        entry = self._journal.stage(kind, change.old, change.new, before)
        self._report.say(f"staged {len(change.new)} file(s)")
        failpoints.hit("rotation_staged")
        where = "making old and new secrets work side by side"
        try:
            steps.prepare()
            where = "replacing the files"
            entry = self._journal.enter(replace(entry, phase=Phase.SWITCHING))
            self._switch(entry)
            self._report.say(f"replaced {', '.join(entry.names)}")
            failpoints.hit("rotation_switched")
            where = "restarting the services"
            self._report.say(restarted_text(self._host.run_what_lies_on_disk(before)))
            failpoints.hit("rotation_restarted")
            where = "proving that it works"
            self._prove(entry, steps)
        except Exception as error:  # noqa: BLE001 - whatever it is, the old secrets come back
            why = f"failed while {where}: {told(error)}"
            self._report.say(why)
            self.undo(entry, steps.tidy)
            raise RotationError(f"{why}. The old secrets are back in use, proven") from None
        return self._journal.enter(replace(entry, phase=Phase.PROVEN))

    def go_on(self, entry: Entry, steps: Steps) -> Entry:
        """Forward from where an earlier run was killed."""
        for name in entry.names:
            path = self._journal.directory / name
            if files.read(path) == self._journal.old(name):
                files.write(path, self._journal.new(name))
        self._report.say(restarted_text(self._host.run_what_lies_on_disk(entry.before)))
        self._prove(entry, steps)
        return self._journal.enter(replace(entry, phase=Phase.PROVEN))

    def undo(self, entry: Entry, tidy: Step) -> None:
        """Old values back into the files, services back onto them, proven. Raises RotationError
        when the host is not well after that; the journal then stays for the next run."""
        try:
            if entry.phase is not Phase.STAGED:
                self._put_back(entry)
            failpoints.hit("rotation_put_back")
            restarted = self._host.run_what_lies_on_disk(entry.before)
            tidy()
            self._host.prove(entry.before)
        except Exception as error:  # noqa: BLE001 - it is told, and the journal stays
            why = f"the old secrets could not be brought back into use: {told(error)}"
            self._report.say(why)
            raise RotationError(f"{why}. Mend that and run this again: it goes on here") from None
        self._journal.close()
        self._report.say(f"undone, proof as before; {restarted_text(restarted)}")

    def finish(self, tidy: Step) -> None:
        """What is left to do after PROVEN."""
        tidy()
        failpoints.hit("rotation_tidied")
        self._journal.close()

    def _prove(self, entry: Entry, steps: Steps) -> None:
        steps.check()
        self._host.prove(entry.before)
        self._report.say(f"proven, expecting {entry.before.expect}")

    def _switch(self, entry: Entry) -> None:
        for name in entry.names:
            path = self._journal.directory / name
            if files.read(path) != self._journal.old(name):
                raise RotationError(f"{path} was changed meanwhile by somebody else")
        for name in entry.names:
            files.write(self._journal.directory / name, self._journal.new(name))
            failpoints.hit("rotation_renamed")

    def _put_back(self, entry: Entry) -> None:
        """The old values of what was changed; what a person edited meanwhile stays."""
        for name in entry.names:
            path = self._journal.directory / name
            present, old, new = files.read(path), self._journal.old(name), self._journal.new(name)
            if present is None or present == new:
                files.write(path, old)
            elif present != old:
                before, after = variables(old, str(path)), variables(new, str(path))
                values = {k: v for k, v in before.items() if after.get(k) != v}
                files.write(path, rebind(present, values, str(path)))
