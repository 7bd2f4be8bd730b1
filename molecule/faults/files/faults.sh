# What the faults are made of. Read by every command that applies or repairs one, on the host.
# shellcheck shell=bash
set -euo pipefail

BRAIN=quantum-exitbrain-v35.service
APPLY=quantum-apply-layer.service
PERMITS=quantum-position-state-brain.service
EXECUTOR=quantum-intent-executor.service
COURIER=quantum-alerts.service
KEPT=/run/quantum-faults
PACKAGE=$(echo /opt/quantum/current/lib/python3*/site-packages/quantum_exit)
mkdir -p "$KEPT"

# Redis as one of its users: as USER COMMAND...
as() {
  local user=$1 variable
  shift
  variable=REDIS_PASSWORD_${user^^}
  REDISCLI_AUTH=$(sed -n "s/^$variable=//p" /etc/quantum/redis.env) \
    redis-cli --no-auth-warning --user "$user" "$@"
}

# The paper exchange's control: paper METHOD PATH [JSON]
paper() {
  (
    set -a
    # shellcheck disable=SC1091
    . /etc/quantum/paper-exchange.env
    python3 - "$@" <<'END'
import os
import sys
import urllib.request

method, path, *body = sys.argv[1:]
headers = {"X-Paper-Control": os.environ["PAPER_EXCHANGE_CONTROL_TOKEN"]}
data = body[0].encode() if body else None
url = f"http://127.0.0.1:8091/paper/{path}"
urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=10)
END
  )
}

# The value of a variable in one of our env files: value_of NAME FILE
value_of() { sed -n "s/^$1=//p" "/etc/quantum/$2.env" | tr -d '"'; }

# At the exchange, the key of an env file.
revoke_key() { paper DELETE "keys?api_key=$(value_of BINANCE_API_KEY "$1")"; }
give_key_back() {
  paper POST keys "{\"api_key\": \"$(value_of BINANCE_API_KEY "$1")\",
    \"secret_key\": \"$(value_of BINANCE_API_SECRET "$1")\", \"may_trade\": false}"
}

# Keep a file as it is, whole; put it back.
keep() { cp -a "$1" "$KEPT/$(echo "$1" | tr / _)"; }
put_back() {
  if [ -e "$KEPT/$(echo "$1" | tr / _)" ]; then mv "$KEPT/$(echo "$1" | tr / _)" "$1"; fi
}

compiled() { echo "${1%/*}"/__pycache__/"$(basename "$1" .py)".cpython-*.pyc; }

# A patched build: patch FILE_IN_PACKAGE SED_EXPRESSION. What was compiled must go, it would run.
patch() {
  local file=$PACKAGE/$1
  keep "$file"
  case $1 in *.py) keep "$(compiled "$file")" && rm "$(compiled "$file")" ;; esac
  sed -i "$2" "$file"
  if cmp -s "$file" "$KEPT/$(echo "$file" | tr / _)"; then
    echo "the patch of $1 changes nothing: $2" >&2
    return 1
  fi
}
unpatch() {
  local file=$PACKAGE/$1
  put_back "$file"
  case $1 in *.py)
    rm -f "${file%/*}"/__pycache__/"$(basename "$file" .py)".cpython-*.pyc
    local kept
    for kept in "$KEPT"/*__pycache___"$(basename "$file" .py)".cpython-*.pyc; do
      mv "$kept" "${file%/*}/__pycache__/${kept##*__pycache___}"
    done
    ;;
  esac
}

# A process that hangs; without the watchdog, which would end it within 15 s.
freeze() {
  systemctl service-watchdogs no
  systemctl kill --kill-whom=main --signal=SIGSTOP "$1"
}
thaw() {
  systemctl kill --kill-whom=main --signal=SIGCONT "$1"
  systemctl service-watchdogs yes
}

# Until a heartbeat is too old: stale SERVICE
stale() {
  local deadline=$((SECONDS + 30)) beat
  while [ "$SECONDS" -lt "$deadline" ]; do
    beat=$(as operator hget "quantum:heartbeat:$1" ts_epoch)
    if [ "$(date +%s)" -gt $((${beat%.*} + 11)) ]; then return; fi
    sleep 0.3
  done
  echo "the heartbeat of $1 is fresh" >&2
  return 1
}

# Until a heartbeat says that its service is not ready: not_ready SERVICE
not_ready() {
  local deadline=$((SECONDS + 40))
  while [ "$SECONDS" -lt "$deadline" ]; do
    if [ "$(as operator hget "quantum:heartbeat:$1" ready)" = false ]; then return; fi
    sleep 0.3
  done
  echo "$1 is ready" >&2
  return 1
}

# Until P3.3 has not read the positions for so long that they count as old.
old_positions() {
  local deadline=$((SECONDS + 40)) read_at
  while [ "$SECONDS" -lt "$deadline" ]; do
    read_at=$(as operator hget quantum:permits:snapshot_state ts_epoch)
    if [ "$(date +%s)" -gt $((${read_at%.*} + 11)) ]; then return; fi
    sleep 0.3
  done
  echo "positions are read" >&2
  return 1
}

# A plan and an intent that do nothing, to be found unanswered.
lay_a_plan() {
  as operator xadd quantum:stream:apply.plan '*' plan_id "fault-$RANDOM$RANDOM" decision SKIP \
    reason fault symbol BTCUSDT side SELL qty 1 reduceOnly true source intent_bridge \
    timestamp "$(date +%s)" >/dev/null
}
lay_an_intent() { as operator xadd quantum:stream:exit.intent '*' intent_id "fault-$RANDOM" >/dev/null; }
