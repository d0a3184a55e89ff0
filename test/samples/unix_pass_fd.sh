#!/usr/bin/env bash
# unix_pass_fd.sh BUILD_DIR [ENGINE]: the two programs of unix_pass_fd hand files over, on that engine
# or on each in turn. Prints a line for each check, "ok: ..." or "FAIL: ...", and at the end "N passed,
# N failed". Every wait in it is bounded.
set -u

if [ $# -lt 1 ] || [ $# -gt 2 ] || [ ! -x "$1/samples/unix_pass_fd_receiver" ]; then
    echo "usage: unix_pass_fd.sh BUILD_DIR [ENGINE]; BUILD_DIR holds samples/unix_pass_fd_receiver" >&2
    exit 2
fi
samples=$(cd -- "$1/samples" && pwd)
engines=${2:-uring epoll blocking}
work=$(mktemp -d)
receiver=
passed=0
failed=0
trap 'kill -KILL $receiver 2>/dev/null; rm -rf "$work"' EXIT

# check TEXT COMMAND...: the command says whether it holds.
check() {
    if "${@:2}"; then
        echo "ok: $1"
        passed=$((passed + 1))
    else
        echo "FAIL: $1"
        failed=$((failed + 1))
    fi
}

# until COMMAND...: waits up to 10 seconds for it to hold.
until_holds() {
    local attempt
    for attempt in {1..200}; do
        "$@" && return 0
        sleep 0.05
    done
    return 1
}

start() {
    : >"$work/out"
    "$samples/unix_pass_fd_receiver" --listen "unix:$work/pass.sock" --engine "$engine" \
        >"$work/out" 2>"$work/err" &
    receiver=$!
    until_holds grep -q '^listening on unix:' "$work/out" && return 0
    echo "FAIL: the receiver does not listen: $(cat "$work/err")"
    exit 1
}

# ends_with SIGNAL: its exit code is 0.
ends_with() {
    kill -"$1" "$receiver"
    timeout 10 tail --pid="$receiver" -s 0.05 -f /dev/null
    wait "$receiver"
    local status=$?
    receiver=
    [ "$status" -eq 0 ]
}

# nobody_listens: a ring of a killed process ends a little later than the process, and its listener with it.
nobody_listens() {
    ! socat -u /dev/null "UNIX-CONNECT:$work/pass.sock" 2>/dev/null
}

send() {
    timeout 10 "$samples/unix_pass_fd_sender" --connect "unix:$work/pass.sock" --engine "$engine" "$@" \
        2>"$work/sender.err"
}

# refuses PROGRAM OPTION...: exit code 2, and a usage line on stderr alone.
refuses() {
    local out
    out=$(timeout 5 "$samples/$1" "${@:2}" 2>"$work/refused" </dev/null)
    [ $? -eq 2 ] && [ -z "$out" ] && grep -q "^usage: $1 " "$work/refused"
}

printf 'hello' >"$work/small"
: >"$work/empty"
head -c 3000000 /dev/urandom >"$work/large"
user=$(id -u)

for engine in $engines; do
    echo "==== $engine"
    start
    check "the socket's file is for this user alone" test "$(stat -c %a "$work/pass.sock")" = 600
    check "three files are handed over" send "$work/small" "$work/empty" "$work/large"
    printf '%s: %s bytes, from user %s\n' "$work/small" 5 "$user" "$work/empty" 0 "$user" \
        "$work/large" 3000000 "$user" >"$work/expected"
    # The sender returns once the last one is read.
    check "each is read through its descriptor" \
        sh -c "sed 1d '$work/out' | cmp -s - '$work/expected'"
    check "many files, one sender" send $(yes "$work/small" | head -n 200)
    check "none of them stays open" \
        until_holds test "$(ls "/proc/$receiver/fd" | wc -l)" -lt 40
    check "a file that is not there is the sender's to report" \
        sh -c "! '$samples/unix_pass_fd_sender' --connect 'unix:$work/pass.sock' '$work/none' 2>&1 |
            grep -qv ENOENT"
    echo "not the protocol" | timeout 5 socat -t 2 - "UNIX-CONNECT:$work/pass.sock" >/dev/null
    check "a client that passes nothing is told off, and the receiver goes on" \
        until_holds grep -q EPROTO "$work/err"
    check "it still receives" send "$work/small"
    timeout 5 "$samples/unix_pass_fd_receiver" --listen "unix:$work/pass.sock" 2>"$work/second" >&2
    check "a second receiver does not take the name over" grep -q EADDRINUSE "$work/second"
    kill -KILL "$receiver"
    wait "$receiver" 2>/dev/null
    check "a killed receiver leaves its file" test -S "$work/pass.sock"
    check "and nobody listens" until_holds nobody_listens
    start
    check "the next one replaces it" send "$work/small"
    check "SIGTERM ends it with 0" ends_with TERM
    check "and its file is gone" test ! -e "$work/pass.sock"
    start
    check "SIGINT ends it with 0" ends_with INT
    send "$work/small"
    check "without a receiver the sender says so: $(cat "$work/sender.err")" \
        grep -q ENOENT "$work/sender.err"
done

for program in unix_pass_fd_receiver unix_pass_fd_sender; do
    check "$program without its endpoint is refused" refuses "$program"
    check "$program refuses an option that it does not know" refuses "$program" --colour
done
check "unix_pass_fd_receiver refuses an endpoint that is no Unix name" \
    refuses unix_pass_fd_receiver --listen 127.0.0.1:0
check "unix_pass_fd_receiver refuses an operand" \
    refuses unix_pass_fd_receiver --listen unix:/tmp/x operand
check "unix_pass_fd_sender refuses to send nothing" \
    refuses unix_pass_fd_sender --connect "unix:$work/pass.sock"
check "unix_pass_fd_sender refuses an engine that is none" \
    refuses unix_pass_fd_sender --connect "unix:$work/pass.sock" --engine steam "$work/small"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
