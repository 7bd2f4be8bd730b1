# Runs on the host, by a plain shell: no Python of the control machine's making, no temporary
# file, so that a full disk and a broken release do not stand between a person and the stop.
#   sh -s -- look
#   sh -s -- on|off REASON
# Answers NAME=WORD for each thing learned. A command gives NAME=STATUS, and before it, as
# NAME:LINE, each line that it said: one of them is its JSON document, if it came so far.
file=/var/lib/quantum/kill_switch
exitctl=/usr/local/bin/exitctl

word() {
  if [ ! -e "$file" ]; then echo missing; else head -c 64 "$file" 2>/dev/null | tr -cd 'a-z' | head -c 16; echo; fi
}

ask() { # NAME SECONDS ARGUMENT...
  name=$1 seconds=$2
  shift 2
  said=$(timeout --kill-after=1 "$seconds" "$exitctl" "$@" --json 2>&1 </dev/null)
  status=$?
  printf '%s\n' "$said" | sed "s/^/$name:/"
  printf '%s=%s\n' "$name" "$status"
}

verb=$1
before=$(word)
printf 'before=%s\n' "$before"
case $verb in
  look)
    ask status 4 status
    ;;
  on)
    # The file first, in place: from here on nothing new is sent, whatever becomes of the rest.
    if [ -d "${file%/*}" ] && [ ! -L "$file" ]; then
      said=$(printf 'on \n' | dd of="$file" bs=4 count=1 conv=notrunc,fsync 2>&1) ||
        printf '%s\n' "$said" | sed 's/^/shell:/'
    fi
    # Was it on already, everywhere? Only then is this no change.
    if [ "$before" = on ]; then ask status 2 status; fi
    ask done 8 kill --reason "$2"
    ;;
  off)
    ask done 20 resume --reason "$2"
    ;;
esac
printf 'after=%s\n' "$(word)"
