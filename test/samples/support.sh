# Sourced by scripts that drive one server at a time; not run. Takes what was started away at the end,
# and `work`.

. "$(dirname -- "${BASH_SOURCE[0]}")/checks.sh"
server=
trap '[ -z "$server" ] || kill -KILL "$server" 2>/dev/null; rm -rf "$work"' EXIT

# start_server PROGRAM OPTION...: on a port of 127.0.0.1 that the kernel chooses; sets `server`, `port`.
start_server() {
    : >"$work/server.out" # Or the loop below may read of the server before.
    "$@" >"$work/server.out" 2>"$work/server.err" &
    server=$!
    local attempt
    for attempt in {1..100}; do
        port=$(sed -n 's/^listening on 127\.0\.0\.1:\([0-9]*\)$/\1/p' "$work/server.out")
        [ -z "$port" ] || return 0
        sleep 0.05
    done
    fail "the server does not listen: $(cat "$work/server.err")"
    exit 1
}

# finish_with SIGNAL: ends the server, and says whether it did so with exit code 0.
finish_with() {
    kill -"$1" "$server"
    timeout 10 tail --pid="$server" -s 0.05 -f /dev/null
    if kill -0 "$server" 2>/dev/null; then
        kill -KILL "$server"
    fi
    wait "$server" 2>/dev/null
    local status=$?
    server=
    [ "$status" -eq 0 ]
}

descriptors() {
    local all=("/proc/$server/fd/"*)
    echo "${#all[@]}"
}

descriptors_back_to() {
    local attempt
    for attempt in {1..100}; do
        [ "$(descriptors)" -ne "$1" ] || return 0
        sleep 0.05
    done
    echo "     it has $(descriptors) descriptors, not $1"
    return 1
}

# says TEXT: sends it as it is, with \r, \n and \x00 spelled so, and prints what comes back.
says() { printf "$1" | timeout 10 socat -t 5 - "TCP:127.0.0.1:$port"; }

# refuses_options PROGRAM OPTION...: exit code 2, and a usage line on stderr alone.
refuses_options() {
    local out
    out=$(timeout 5 "$@" 2>"$work/usage" </dev/null)
    [ $? -eq 2 ] && [ -z "$out" ] && grep -q "^usage: ${1##*/} " "$work/usage"
}
