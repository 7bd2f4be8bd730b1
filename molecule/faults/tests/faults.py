"""The table: each fault, how it comes about, how it is mended, and which checks it turns red.

Each check of each proof stands in at least one row; a check that nothing turns red would prove
nothing. `red` names checks as `proof.key`, and `proof` alone where a proof could not be run.
The commands are run on the host, with `files/faults.sh` before them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DENIAL_DRILL: Final = ("watch.found", "watch.told", "watch.told_again", "watch.delivered")
"""The watch's drill needs a denial to begin with."""
LAYER_2_MUTE: Final = (
    "executor.groups",
    "executor.passes",
    "executor.denials",
    *DENIAL_DRILL,
)
PROOFS: Final = ("exitbrain", "executor", "apply", "watch", "host")


@dataclass(frozen=True)
class Fault:
    """`what`: for the documentation."""

    name: str
    what: str
    apply: str
    repair: str
    red: frozenset[str]


def _fault(name: str, what: str, apply: str, repair: str, *red: str) -> Fault:
    return Fault(name, what, apply, repair, frozenset(red))


def _patched(name: str, what: str, file: str, change: str, restart: str, *red: str) -> Fault:
    """A build of ours in which one gate is switched off. The list of files tells, too."""
    again = f" && systemctl restart {restart}" if restart else ""
    apply, repair = f"patch {file} '{change}'{again}", f"unpatch {file}{again}"
    return _fault(name, what, apply, repair, "host.files", *red)


def _timer(timer: str) -> Fault:
    return _fault(
        f"timer_stopped_{timer}",
        f"`{timer}.timer` is switched off",
        f"systemctl stop {timer}.timer",
        f"systemctl start {timer}.timer",
        f"watch.timer:{timer}.timer",
    )


def _answers(name: str, what: str, rule: str, *red: str) -> Fault:
    return _fault(name, what, f"paper POST faults '{rule}'", "paper DELETE faults", *red)


SERVICES: Final = (
    _fault(
        "brain_stopped",
        "the Exit Brain is stopped",
        "systemctl stop $BRAIN; stale exitbrain",
        "systemctl start $BRAIN",
        *("exitbrain.service", "exitbrain.cycles", "exitbrain.mode"),
    ),
    _fault(
        "brain_frozen",
        "the Exit Brain hangs (SIGSTOP), its last heartbeat is old, systemd calls it active",
        "freeze $BRAIN; stale exitbrain",
        "thaw $BRAIN",
        *("exitbrain.service", "exitbrain.cycles", "exitbrain.mode"),
    ),
    _fault(
        "executor_stopped",
        "the Intent Executor is stopped, and a plan waits",
        "systemctl stop $EXECUTOR; lay_a_plan; stale intent_executor",
        "systemctl start $EXECUTOR",
        *("executor.service", "apply.denials", *LAYER_2_MUTE),
    ),
    _fault(
        "executor_frozen",
        "the Intent Executor hangs (SIGSTOP), and plans wait",
        # The first is handed to the read that was under way, the second is not read at all.
        "freeze $EXECUTOR; lay_a_plan; lay_a_plan; stale intent_executor",
        "thaw $EXECUTOR",
        *("executor.service", "apply.denials", *LAYER_2_MUTE),
    ),
    _fault(
        "apply_stopped",
        "the Apply Layer is stopped, and an intent waits",
        "systemctl stop $APPLY; lay_an_intent; stale apply_layer",
        "systemctl start $APPLY",
        *("apply.service", "apply.group", "apply.carried", "apply.blocked", "apply.denials"),
    ),
    _fault(
        "permits_stopped",
        "P3.3 is stopped: positions grow old, there are no permits",
        "systemctl stop $PERMITS; stale position_state",
        "systemctl start $PERMITS",
        "executor.passes",
    ),
    _fault(
        "positions_unknown",
        "P3.3 is stopped, and what it had read of the exchange is gone",
        "systemctl stop $PERMITS; stale position_state; "
        "as position_state DEL quantum:permits:snapshot_state",
        "systemctl start $PERMITS",
        *("executor.passes", "apply.carried", "watch.found"),
    ),
    _fault(
        "courier_stopped",
        "nobody takes alerts from their stream",
        "systemctl stop $COURIER; stale alerts",
        "systemctl start $COURIER",
        *("watch.alerts", "watch.delivered"),
    ),
    _fault(
        "redis_stopped",
        "Redis is stopped: nothing can be proven",
        "systemctl stop redis-server",
        "systemctl start redis-server; systemctl restart quantum-policy-refresh",
        *PROOFS,
    ),
)

SWITCHES: Final = (
    _fault(
        "mode_shadow",
        "it runs in SHADOW, and its log says LIVE in an old line",
        "keep /etc/quantum/exitbrain-v35.env;"
        " sed -i s/^EXIT_MODE=.*/EXIT_MODE=LEGACY/ /etc/quantum/exitbrain-v35.env;"
        " systemctl restart $BRAIN;"
        " echo '[EXIT_MODE] 🔴 EXIT BRAIN V3 LIVE MODE ACTIVE 🔴'"
        " >>/var/log/quantum/exitbrain_v35.log",
        "put_back /etc/quantum/exitbrain-v35.env; systemctl restart $BRAIN",
        "exitbrain.mode",
    ),
    _fault(
        "killed",
        "the kill switch is on",
        "exitctl kill --reason fault",
        "exitctl resume --reason repaired",
        *("exitbrain.mode", "exitbrain.kill_switch", "executor.kill_switch", "executor.passes"),
    ),
    _fault(
        "kill_file_open",
        "everybody may write the kill file",
        "chmod 0666 /var/lib/quantum/kill_switch",
        "chmod 0644 /var/lib/quantum/kill_switch",
        "host.kill_file",
    ),
    _fault(
        "open_outcome",
        "the outcome of an order is unknown for ten minutes",
        "as intent_executor hset quantum:executor:open fault"
        ' "{\\"plan_id\\":\\"fault\\",\\"symbol\\":\\"BTCUSDT\\",\\"timestamp_ms\\":$(($(date +%s)'
        '*1000-600000))}"',
        "as intent_executor hdel quantum:executor:open fault",
        "executor.open",
    ),
)

EXCHANGE: Final = (
    _answers(
        "exchange_errors",
        "the exchange answers the account's balance with an error",
        '{"path": "/fapi/v3/balance", "answer": {"status": 500, "body": {}}}',
        "exitbrain.exchange",
    ),
    _answers(
        "exchange_empty",
        "the exchange answers the account's balance with an empty list",
        '{"path": "/fapi/v3/balance", "answer": {"status": 200, "body": []}}',
        "exitbrain.exchange",
    ),
    _fault(
        "exchange_clock",
        "the exchange's clock and ours are five seconds apart",
        "paper POST clock '{\"offset_ms\": 5000}'; not_ready exitbrain; not_ready position_state",
        "paper POST clock '{\"offset_ms\": 0}'",
        *("host.clock", "exitbrain.service", "executor.passes"),
    ),
    _fault(
        "key_revoked",
        "the readers' key was revoked at the exchange",
        "revoke_key exitbrain-v35; not_ready exitbrain; old_positions",
        "give_key_back exitbrain-v35",
        *("exitbrain.service", "exitbrain.exchange", "exitbrain.history"),
        *("executor.passes", "executor.quiet"),
    ),
    _fault(
        "history_lost",
        "the exchange knows nothing of an order that we have a result of",
        "paper POST reset",
        "/opt/quantum/current/bin/launch quantum_exit.demo",
        "exitbrain.history",
    ),
)

BUILDS: Final = (
    _patched(
        "ownership_off",
        "a build whose ownership gate lets everybody pass",
        "gates/ownership.py",
        "s/    plan = claim.plan$/    return None/",
        "$EXECUTOR",
        *("executor.denials", *DENIAL_DRILL),
    ),
    _patched(
        "drills_sent",
        "a build that sends what is registered as a drill",
        "executor/lua/grant.lua",
        "/KEYS\\[8\\]/d",
        "$EXECUTOR",
        *("executor.passes", "executor.quiet"),
    ),
    _patched(
        "layer_1_off",
        "a build whose Apply Layer takes everybody for the owner",
        "apply/rules.py",
        "s/        source = intent.source$/        return None/",
        "$APPLY",
        "apply.blocked",
    ),
    _patched(
        "watch_mute",
        "a build whose watch tells nobody",
        "alerts/watch.py",
        "s/    if denials.told_drills:/    if False:/",
        "",
        *("watch.told", "watch.delivered"),
    ),
    _patched(
        "watch_forgets",
        "a build whose watch reads everything at each look",
        "alerts/watch.py",
        's/results = _Results(bus, cursor)/results = _Results(bus, "0-0")/',
        "",
        "watch.told_again",
    ),
    _fault(
        "current_moved",
        "`current` points at another release than the one that runs",
        "cp -a $(readlink -f /opt/quantum/current) /opt/quantum/releases/fault;"
        " readlink /opt/quantum/current >$KEPT/current;"
        " ln -sfn /opt/quantum/releases/fault /opt/quantum/current",
        "ln -sfn $(cat $KEPT/current) /opt/quantum/current; rm -rf /opt/quantum/releases/fault",
        "host.release",
    ),
)

HOST: Final = (
    _fault(
        "secret_open",
        "an env file is readable by everybody",
        "chmod 0644 /etc/quantum/operator.env",
        "chmod 0600 /etc/quantum/operator.env",
        "host.secrets",
    ),
    _fault(
        "password_wrong",
        "the operator's Redis password is wrong: nothing can be proven",
        "keep /etc/quantum/operator.env;"
        " sed -i 's/^REDIS_URL=.*/REDIS_URL=redis:\\/\\/operator:wrong@127.0.0.1:6379\\/0/'"
        " /etc/quantum/operator.env",
        "put_back /etc/quantum/operator.env",
        *PROOFS,
    ),
    _fault(
        "owner_key_wrong",
        "the owner's public key is not that of the key it signs with",
        "keep /etc/quantum/operator.env; sed -i"
        " 's/^QUANTUM_PUBLIC_KEY_EXITBRAIN_V3_5=.*/QUANTUM_PUBLIC_KEY_EXITBRAIN_V3_5='"
        "$(printf 'a%.0s' {1..64})/ /etc/quantum/operator.env",
        "put_back /etc/quantum/operator.env",
        *("apply.owner", "apply.carried"),
    ),
    _fault(
        "config_changed",
        "an env file was changed, and its service not restarted",
        "keep /etc/quantum/intent-executor.env;"
        " echo INTENT_EXECUTOR_MAX_ORDER_VALUE=1 >>/etc/quantum/intent-executor.env",
        "put_back /etc/quantum/intent-executor.env",
        "host.config",
    ),
    _fault(
        "sandbox_off",
        "a drop-in takes the sandbox off a service",
        "mkdir -p /etc/systemd/system/$APPLY.d;"
        " printf '[Service]\\nSystemCallFilter=\\nRestrictNamespaces=no\\nNoNewPrivileges=no\\n"
        "ProtectSystem=no\\nCapabilityBoundingSet=~\\n' >/etc/systemd/system/$APPLY.d/fault.conf;"
        " systemctl daemon-reload; systemctl restart $APPLY",
        "rm -r /etc/systemd/system/$APPLY.d; systemctl daemon-reload; systemctl restart $APPLY",
        *("host.sandbox", "host.config"),
    ),
    _fault(
        "disk_full",
        "the disk of the logs has less room than it must have",
        "fallocate -l 60M /var/log/quantum/fault",
        "rm /var/log/quantum/fault",
        "host.disk",
    ),
    _fault(
        "redis_not_kept",
        "Redis no longer writes to disk",
        "as maintenance acl setuser maintenance +config; as maintenance config set appendonly no",
        "as maintenance config set appendonly yes; as maintenance acl load",
        "host.redis_kept",
    ),
    _fault(
        "redis_full",
        "Redis has little memory left",
        "as maintenance acl setuser maintenance +config;"
        " as maintenance config get maxmemory | tail -1 >$KEPT/maxmemory;"
        " used=$(as maintenance info memory | tr -d '\\r' | sed -n s/^used_memory://p);"
        " as maintenance config set maxmemory $((used * 115 / 100))",
        "as maintenance config set maxmemory $(cat $KEPT/maxmemory); as maintenance acl load",
        "host.redis_memory",
    ),
    _fault(
        "redis_open",
        "a producer may do everything in Redis",
        "as maintenance acl setuser intent_bridge '~*' +@all",
        "as maintenance acl load",
        "host.redis_acl",
    ),
    _fault(
        "redis_no_password",
        "Redis lets in whoever does not log in",
        "as maintenance acl setuser default on nopass",
        "as maintenance acl load",
        "host.redis_acl",
    ),
)

WATCHES: Final = (
    _timer("exitbrain-proof"),
    _timer("quantum-policy-refresh"),
    _fault(
        "watch_stopped",
        "the watch was switched off an hour ago",
        # Its service too: a look that the clock has just begun would end after this.
        "systemctl stop quantum-exit-owner-watch.timer quantum-exit-owner-watch.service;"
        " as exit_owner_watch hset quantum:watch:state ts_epoch $(($(date +%s) - 3600))",
        "systemctl start quantum-exit-owner-watch.timer",
        *("watch.looked", "watch.timer:quantum-exit-owner-watch.timer"),
    ),
    _fault(
        "cursor_lost",
        "the watch has passed over results",
        "as exit_owner_watch hset quantum:watch:state cursor 0-1 ts_epoch $(date +%s)",
        "true",
        "watch.cursor",
    ),
    _fault(
        "policy_ran_out",
        "the policy ran out",
        "as policy_refresh hset quantum:policy:current valid_until_epoch $(($(date +%s) - 60))",
        "systemctl restart quantum-policy-refresh",
        "watch.policy",
    ),
    _fault(
        "webhook_gone",
        "nobody listens where alerts are sent to",
        "keep /etc/quantum/alerts.env;"
        " echo ALERTS_WEBHOOK_URL=http://127.0.0.1:9/ >>/etc/quantum/alerts.env;"
        " systemctl restart $COURIER;"
        " as operator xadd quantum:stream:alerts '*' alert_type POLICY_STALE severity WARNING"
        " timestamp $(date +%s) alert_id fault-$RANDOM$RANDOM details '{}'; not_ready alerts",
        "put_back /etc/quantum/alerts.env; systemctl restart $COURIER",
        "watch.alerts",
    ),
)

FAULTS: Final = (*SERVICES, *SWITCHES, *EXCHANGE, *BUILDS, *HOST, *WATCHES)
