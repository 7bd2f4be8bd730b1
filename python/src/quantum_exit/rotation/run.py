"""The rotations, and what the last run left behind."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from quantum_exit.at_work import AT_WORK_S, at_work, read_point
from quantum_exit.rotation import files
from quantum_exit.rotation.acl import MAINTENANCE, Accounts, hashed
from quantum_exit.rotation.errors import Locked, RotationError
from quantum_exit.rotation.exchange_keys import NOT_CHECKED, Pair, Standing, standing, still_valid
from quantum_exit.rotation.journal import Entry, Journal, Kind, Phase
from quantum_exit.rotation.kinds import REDIS_FILE, TRADER, Change, EnvFiles, Keys
from quantum_exit.rotation.rebind import variables
from quantum_exit.rotation.services import Condition, Host
from quantum_exit.rotation.transaction import Report, Step, Steps, Transaction, nothing
from quantum_exit.settings import ConfigError, base_url, is_testnet

LOCK_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for. `given`: new exchange keys, by api_key, api_secret, read_api_key and
    read_api_secret; empty to take those of the source of truth."""

    kind: Kind
    environment: str
    given: Mapping[str, str] = field(default_factory=dict, repr=False)
    check_only: bool = False
    signing_overlap_s: float = 65.0
    producers_overlap_s: float = 86_400.0
    end_overlap: bool = False
    """Of producers' passwords: those before are not accepted any more, from now on."""
    directory: Path = Path("/etc/quantum")
    acl_file: Path = Path("/etc/redis/quantum.acl")


class Rotation:
    def __init__(self, request: Request, report: Report) -> None:
        self._request = request
        self._report = report
        self._files = EnvFiles(request.directory, request.environment)
        self._journal = Journal(request.directory)
        self._host = Host(request.directory)
        self._transaction = Transaction(self._journal, self._host, report)

    def run(self) -> None:
        """Raises RotationError; what it says also tells in what state the host is."""
        rotate = {
            Kind.EXCHANGE: self._exchange,
            Kind.SIGNING: self._signing,
            Kind.REDIS: self._redis,
            Kind.PRODUCERS: self._producers,
        }[self._request.kind]
        with files.exclusive(self._request.directory, LOCK_TIMEOUT_S):
            self._refuse_deployment()
            if not self._request.check_only:
                files.sweep(self._request.directory)
            self._recover()
            rotate()

    def _refuse_deployment(self) -> None:
        """One that fails puts back what it derived of the secrets as they were."""
        if pid := at_work(read_point(self._request.directory)):
            raise Locked(
                f"a deployment is at work on this host, from the connection of process {pid}: wait "
                "for its end. If nobody is there any more, end that process, or wait "
                f"{AT_WORK_S // 60} minutes"
            )

    # What the last run left behind

    def _recover(self) -> None:
        entry = self._journal.load()
        if entry is None:
            return
        left = f"a rotation ({entry.kind}) was cut off when it was {entry.phase}"
        if self._request.check_only:
            raise RotationError(f"{left}: the next run without --check finishes or undoes it")
        self._report.changed = True
        self._report.say(left)
        if entry.phase is Phase.OVERLAP:
            self._end_overlap(entry)
        elif entry.phase is Phase.PROVEN:
            self._complete(entry)
            self._report.say("finished it")
        elif entry.kind is Kind.EXCHANGE and self._only_new_works(entry):
            self._report.say("the old key does not work any more: going on with the new one")
            self._complete(self._transaction.go_on(entry, Steps()))
        else:
            self._transaction.undo(entry, self._tidy(entry.kind))

    def _only_new_works(self, entry: Entry) -> bool:
        if TRADER not in entry.names:
            return False
        old, new = (
            Keys.trading(variables(text, TRADER))
            for text in (self._journal.old(TRADER), self._journal.new(TRADER))
        )
        return still_valid(old, self._url()) is False and still_valid(new, self._url()) is True

    def _complete(self, entry: Entry) -> None:
        """From PROVEN to the end."""
        if entry.kind is not Kind.SIGNING:
            self._transaction.finish(self._tidy(entry.kind))
            return
        until = time.time() + self._request.signing_overlap_s
        overlap = self._journal.enter(replace(entry, phase=Phase.OVERLAP, until_epoch=until))
        self._journal.forget_texts()
        self._end_overlap(overlap)

    # Exchange keys

    def _exchange(self) -> None:
        old = self._files.keys_in_use()
        keys, values = self._files.keys_in_source(self._request.given)
        account = self._prove_keys(keys)
        self._prove_same_account(keys, old, account)
        for text in NOT_CHECKED:
            self._report.say(f"not checked: {text}")
        change = self._files.exchange_change(keys, values)
        before = self._begin(change)
        if before is None:
            return
        steps = Steps(check=lambda: self._check_again(keys))
        self._complete(self._transaction.run(Kind.EXCHANGE, change, before, steps))
        self._tell_old(keys, old)

    def _url(self) -> str:
        environ = self._host.environ(TRADER)
        try:
            return base_url(environ, testnet=is_testnet(environ))
        except ConfigError as error:
            raise RotationError(f"{TRADER}: {error}") from None

    def _ask(self, pair: Pair, name: str) -> Standing:
        try:
            return standing(pair, self._url())
        except RotationError as error:
            raise RotationError(f"the {name} key: {error}") from None

    def _prove_keys(self, keys: Keys) -> str:
        """The account they belong to. Nothing is changed yet."""
        trade = self._check_trading(keys)
        self._report.say("the trading key is accepted and may trade")
        if keys.read == keys.trade:
            self._report.say("the readers share the trading key: better give them their own")
            return trade.account
        read = self._ask(keys.read, "reading")
        self._compare(read.account, trade.account, "the reading key", "the trading key")
        rights = "MAY TRADE: take that right from it" if read.key_may_trade else "may not trade"
        self._report.say(f"the reading key is accepted and {rights}")
        return trade.account

    def _check_trading(self, keys: Keys) -> Standing:
        trade = self._ask(keys.trade, "trading")
        if not trade.account_may_trade:
            raise RotationError("the trading key: its account may not trade (canTrade is false)")
        if not trade.key_may_trade:
            raise RotationError("the trading key may not trade: enable futures for it")
        return trade

    def _check_again(self, keys: Keys) -> None:
        self._check_trading(keys)
        self._ask(keys.read, "reading")

    def _prove_same_account(self, keys: Keys, old: Keys, account: str) -> None:
        if keys.trade == old.trade:
            return
        try:
            theirs = self._ask(old.trade, "old").account
        except RotationError:
            self._report.say("not checked: whether it is the same account; the old key is dead")
            return
        self._compare(account, theirs, "the new key", "the one in use")

    def _compare(self, one: str, other: str, whose: str, than: str) -> None:
        """Two accounts that the exchange does not name are not known to be the same."""
        if not one and not other:
            self._report.say(
                f"not checked: whether {whose} is of the same account as {than}; the exchange does "
                "not name it"
            )
        elif one != other:
            raise RotationError(f"{whose} belongs to another account than {than}")

    def _tell_old(self, keys: Keys, old: Keys) -> None:
        for name, pair, now in (
            ("trading", old.trade, (keys.trade, keys.read)),
            ("reading", old.read, (keys.trade, keys.read, old.trade)),
        ):
            if pair in now:
                continue
            self._report.say(
                {
                    True: f"the old {name} key is STILL VALID: revoke it at the exchange",
                    False: f"the old {name} key is not valid any more",
                    None: f"whether the old {name} key is still valid could not be asked",
                }[still_valid(pair, self._url())]
            )

    # Signing keys

    def _signing(self) -> None:
        change = self._files.signing_change()
        before = self._begin(change)
        if before is not None:
            self._complete(self._transaction.run(Kind.SIGNING, change, before, Steps()))

    def _end_overlap(self, entry: Entry) -> None:
        left_s = max(0.0, min(entry.until_epoch - time.time(), self._request.signing_overlap_s))
        self._report.say(f"both signing keys are accepted for {left_s:.0f} s more")
        time.sleep(left_s)
        change = self._files.narrowing_change()
        for name, text in change.new.items():
            files.write(self._request.directory / name, text)
        self._host.run_what_lies_on_disk(entry.before)
        self._host.prove(entry.before)
        self._journal.close()
        self._report.say("proven; the old signing key is not accepted any more")

    # Passwords of Redis

    def _redis(self) -> None:
        change, new = self._files.redis_change()
        before = self._begin(change)
        if before is None:
            return
        accounts, old, began = self._accounts(), self._files.passwords(), time.monotonic()

        def prepare() -> None:
            both = {u: [hashed(old[u]), hashed(password)] for u, password in new.items()}
            accounts.accept(both, old[MAINTENANCE])
            for user, password in new.items():
                accounts.check(user, password)
            self._report.say(f"Redis takes the old and the new passwords of {len(new)} users")

        steps = Steps(prepare=prepare, tidy=self._tidy(Kind.REDIS))
        self._complete(self._transaction.run(Kind.REDIS, change, before, steps))
        # The services were restarted since. A second more: Redis tells ages in whole ones.
        accounts.disconnect(new, new[MAINTENANCE], time.monotonic() - began + 1)
        self._report.say("Redis takes the new passwords alone")

    # Passwords of producers, who are not on this host: the overlap lasts for hours

    def _producers(self) -> None:
        names = ", ".join(self._files.producers())
        if not names:
            raise RotationError("there is no producer: name it in redis_producers and deploy")
        until_epoch = max((until for _, until in self._files.replaced().values()), default=0.0)
        if self._request.end_overlap:
            self._end_producers_overlap(names)
            return
        if until_epoch > time.time():
            self._report.say(
                f"the passwords of {names} were replaced already; those before are accepted until "
                f"{_utc(until_epoch)}, or until -e rotation_end_overlap=true ends that"
            )
            return
        until_epoch = time.time() + self._request.producers_overlap_s
        change, new = self._files.producers_change(until_epoch)
        before = self._begin(change)
        if before is None:
            return
        accounts, login = self._accounts(), self._files.passwords()[MAINTENANCE]

        def prepare() -> None:
            both = self._files.accepted(time.time())
            for user, password in new.items():
                both[user].append(hashed(password))
            accounts.accept(both, login)
            for user, password in new.items():
                accounts.check(user, password)

        steps = Steps(prepare=prepare, tidy=self._tidy(Kind.PRODUCERS))
        self._complete(self._transaction.run(Kind.PRODUCERS, change, before, steps))
        self._report.say(
            f"the new passwords of {names} are in {self._request.directory}/redis.env: hand them "
            f"over; those before are accepted until {_utc(until_epoch)}, or until "
            "-e rotation_end_overlap=true ends that"
        )

    def _end_producers_overlap(self, names: str) -> None:
        path, text = self._request.directory / REDIS_FILE, self._files.without_replaced()
        differs = text != self._files.text(REDIS_FILE)
        self._report.changed = self._report.changed or differs
        if self._request.check_only:
            self._report.say("would end the overlap" if differs else "there is no overlap")
            return
        if differs:
            files.write(path, text)
        self._tidy(Kind.PRODUCERS)()
        self._send_away(self._files.producers())
        self._report.say(f"of {names} only the new passwords are accepted")

    def end_what_is_due(self) -> None:
        """Passwords whose overlap is over. Raises RotationError; then nothing is forgotten."""
        if not self._files.overdue(time.time()):
            return
        try:
            with files.exclusive(self._request.directory, 0):
                if self._journal.load() is not None:
                    return  # cut off: the next rotation finishes or undoes it first
                due = self._files.overdue(time.time())
                # Redis first: killed in between, the next time finds it still to be done.
                self._tidy(Kind.PRODUCERS)()
                self._send_away(due)
                path = self._request.directory / REDIS_FILE
                files.write(path, self._files.without_replaced(due))
        except Locked:
            return  # by a rotation or a deployment: there is a next time
        self._report.say(f"of {', '.join(due)} the passwords before are not accepted any more")

    def _send_away(self, users: list[str]) -> None:
        """Whoever is connected is not asked for its password again."""
        self._accounts().disconnect(users, self._files.passwords()[MAINTENANCE])

    def _accounts(self) -> Accounts:
        return Accounts(self._request.acl_file, self._files.redis_address())

    def _tidy(self, kind: Kind) -> Step:
        """For Redis: each user has the passwords that its file tells of, and no other."""

        def narrow() -> None:
            login = self._files.passwords()[MAINTENANCE]
            self._accounts().accept(self._files.accepted(time.time()), login)

        return narrow if kind in (Kind.REDIS, Kind.PRODUCERS) else nothing

    def _begin(self, change: Change) -> Condition | None:
        """How the host is. None when it is only looked at, or nothing has to be switched: then
        the services run what lies on disk, proven."""
        if self._request.check_only:
            self._report.changed = self._report.changed or bool(change.new)
            names = ", ".join(change.new)
            self._report.say(f"would replace {names}" if names else "no file would change")
            return None
        before = self._host.condition()
        if change.new:
            self._report.changed = True
            return before
        restarted = self._host.run_what_lies_on_disk(before)
        self._report.changed = self._report.changed or bool(restarted)
        self._host.prove(before)
        self._report.say(f"the env files hold these keys already; proven, {before.expect}")
        return None


def _utc(epoch: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(epoch))
