"""A timer that stops firing cannot say so itself: another one does."""

from __future__ import annotations

import json

import stage

WATCH, PROOF = "quantum-exit-owner-watch", "exitbrain-proof"


def silent_timers_alerted_after(script: str) -> set[str]:
    """Which timers are told of by alerts that come of these commands."""
    before = stage.act("as operator --raw xrevrange quantum:stream:alerts + - count 1").split()
    stage.act(script)
    since = before[0] if before else "0-0"
    lines = stage.act(f"as operator --raw xrange quantum:stream:alerts '({since}' +").splitlines()
    details = [json.loads(line) for line in lines if line.startswith("{")]
    return {one["timer"] for one in details if "timer" in one}


def test_the_watch_tells_of_the_proofs_timer() -> None:
    stopped = (
        f"systemctl stop {PROOF}.timer; systemctl start {WATCH}; systemctl start {PROOF}.timer"
    )
    forgets = f"as exit_owner_watch hdel quantum:watch:state told:timer:{PROOF}.timer; "
    assert f"{PROOF}.timer" in silent_timers_alerted_after(forgets + stopped)
    stage.act(f"systemctl start {WATCH}")
    assert silent_timers_alerted_after(f"systemctl start {WATCH}") == set()


def test_the_proof_tells_of_the_watchs_timer() -> None:
    assert silent_timers_alerted_after(f"systemctl start {PROOF}") == set()
    an_hour_ago = "$(($(date +%s) - 3600))"
    age = f"as exit_owner_watch hset quantum:watch:state ts_epoch {an_hour_ago}"
    assert silent_timers_alerted_after(f"{age}; systemctl start {PROOF}") == {f"{WATCH}.timer"}
    stage.act(f"systemctl start {WATCH}")
