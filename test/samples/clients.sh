#!/usr/bin/env bash
# clients.sh BUILD_DIR [ENGINE]: BUILD_DIR/samples/echo_server meets real clients, good ones and bad
# ones, on that engine or on each in turn. Prints a line for each check, "ok: ..." or "FAIL: ...",
# and at the end "N passed, N failed". Takes 40 seconds an engine; every wait in it is bounded.
set -u

if [ $# -lt 1 ] || [ $# -gt 2 ] || [ ! -x "$1/samples/echo_server" ]; then
    echo "usage: clients.sh BUILD_DIR [ENGINE]; BUILD_DIR holds samples/echo_server" >&2
    exit 2
fi
if [ $# -eq 1 ]; then
    all=$(mktemp)
    for engine in uring epoll blocking; do
        echo "==== $engine"
        bash "$0" "$1" "$engine" | tee -a "$all"
    done
    sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$all" | {
        runs=0 passed=0 failed=0
        while read -r more_passed more_failed; do
            runs=$((runs + 1)) passed=$((passed + more_passed)) failed=$((failed + more_failed))
        done
        rm -f "$all"
        echo "$passed passed, $failed failed"
        [ "$runs" -eq 3 ] && [ "$failed" -eq 0 ]
    }
    exit
fi
engine=$2
samples=$(cd -- "$1/samples" && pwd)
. "$(dirname -- "$0")/checks.sh"
server=
others=() # Process ids of clients that do not end by themselves.
trap 'kill -KILL $server "${others[@]}" 2>/dev/null; rm -rf "$work"' EXIT
ulimit -n 6000 2>/dev/null # For 5000 connections; the server gets its own limit.

now_ms() {
    local now=$EPOCHREALTIME
    echo $((${now/[.,]/} / 1000))
}

# start LIMIT OPTION...: a server with that many descriptors, on a port that the kernel chooses.
start() {
    : >"$work/server.out" # Or the loop below may read of the server before.
    (
        ulimit -n "$1"
        exec "$samples/echo_server" --listen 127.0.0.1:0 --engine "$engine" "${@:2}"
    ) >"$work/server.out" 2>"$work/server.err" &
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

# ended SECONDS: waits until the server is gone; sets `status` and `took`, the milliseconds.
ended() {
    local before
    before=$(now_ms)
    timeout "$1" tail --pid="$server" -s 0.05 -f /dev/null
    took=$(($(now_ms) - before))
    if kill -0 "$server" 2>/dev/null; then
        kill -KILL "$server"
    fi
    wait "$server" 2>/dev/null
    status=$?
    server=
}

# finish_with SIGNAL: ends a server that has nothing to do.
finish_with() {
    kill -"$1" "$server"
    ended 8
    echo "     exit code $status after $took ms"
    [ "$status" -eq 0 ] && [ "$took" -lt 2500 ]
}

client() { timeout 20 "$samples/echo_client" --connect "127.0.0.1:$port" --engine "$engine"; }
via_socat() { timeout 20 socat -t 15 - "TCP:127.0.0.1:$port"; }
via_nc() { timeout 20 nc -N 127.0.0.1 "$port"; }

# same COMMAND FILE: what goes through COMMAND comes back as it was.
same() { "$1" <"$2" | cmp - "$2"; }

still_serves() { [ "$(echo hello | client)" = hello ]; }

# connect: a connection of this shell; sets `fd`.
connect() { exec {fd}<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null

disconnect() {
    local each
    for each in "$@"; do
        exec {each}>&-
    done
}

# replies FD SECONDS: whether a line comes back within that time.
replies() {
    local line
    echo "line for $1" >&"$1" && read -r -t "$2" -u "$1" line && [ "$line" = "line for $1" ]
}

descriptors() {
    local all=("/proc/$server/fd/"*)
    echo "${#all[@]}"
}

# descriptors_back_to COUNT: within two seconds.
descriptors_back_to() {
    local attempt
    for attempt in {1..40}; do
        [ "$(descriptors)" -ne "$1" ] || return 0
        sleep 0.05
    done
    echo "     it has $(descriptors) descriptors, not $1"
    return 1
}

# never_reads: a client that sends for ever, at the point where the server waits to send to it.
never_reads() {
    local attempt before count=$(descriptors)
    socat -u /dev/zero "TCP:127.0.0.1:$port" 2>/dev/null &
    others+=($!)
    for attempt in {1..50}; do
        before=$(cpu_ms)
        sleep 0.1
        [ "$(descriptors)" -le "$count" ] || [ "$(cpu_ms)" -ne "$before" ] || return 0
    done
    fail "the server does not come to wait for a client that never reads"
}

# others_end: sees them off.
others_end() {
    kill "${others[@]}" 2>/dev/null
    wait "${others[@]}" 2>/dev/null
    others=()
}

# cpu_ms: the processor time of the server.
cpu_ms() {
    local stat
    read -r stat <"/proc/$server/stat"
    local fields=(${stat##*) })
    echo $(((fields[11] + fields[12]) * 1000 / $(getconf CLK_TCK)))
}

is_missing() { ! command -v "$1" >/dev/null; }

for tool in socat nc; do
    ! is_missing "$tool" || fail "$tool is not installed"
done
head -c 65536 /dev/urandom >"$work/64K"
head -c 16777216 /dev/urandom >"$work/16M"
head -c 67108864 /dev/urandom >"$work/64M"
: >"$work/empty"

# --- Clients that behave ------------------------------------------------------------------------

start 1024 --report
at_rest=$(descriptors)

check "socat gets 64 KiB back" same via_socat "$work/64K"
check "socat gets 16 MiB back" same via_socat "$work/16M"
check "nc gets 64 KiB back" same via_nc "$work/64K"
check "echo_client gets a file of 64 MiB back" same client "$work/64M"
check "echo_client gets 16 MiB through pipes" \
    cmp <(cat "$work/16M" | client | cat) "$work/16M"
check "echo_client sends nothing and gets nothing" same client "$work/empty"
check "a client that has ended its side still gets all of a late reply" \
    test "$(printf 'last words' | via_nc)" = "last words"
check "load finds every byte right" \
    timeout 10 "$samples/load" --connect "127.0.0.1:$port" --connections 20 --size 3000 \
    --pipeline 7 --duration 0.5

fds=()
for ((index = 0; index < 500; ++index)); do
    connect && fds+=("$fd")
done
right=0
for fd in "${fds[@]}"; do
    echo "line for $fd" >&"$fd"
done
for fd in "${fds[@]}"; do
    read -r -t 5 -u "$fd" line && [ "$line" = "line for $fd" ] && right=$((right + 1))
done
check "500 connections at once: $right are served" test "$right" -eq 500
disconnect "${fds[@]}"
check "500 connections closed at once leave no descriptor" descriptors_back_to "$at_rest"

check "SIGTERM ends a server that has nothing to do" finish_with TERM
start 6000 --report
at_rest=$(descriptors)
check "5000 connections at once are served, and closed" \
    timeout 30 "$samples/load" --connect "127.0.0.1:$port" --connections 5000 --size 16 --duration 1
check "5000 connections leave no descriptor" descriptors_back_to "$at_rest"

# --- Clients that do not ------------------------------------------------------------------------

# They come at the same time, and all the while the others have to be served.
(for byte in a b c; do printf '%s' "$byte" && sleep 1; done) | via_socat >"$work/slow" &
slow=$!
never_reads
never_reads
check "others are served while two clients send and never read" same client "$work/16M"
for index in 1 2 3 4 5; do
    timeout 5 socat -u "$work/16M" "TCP:127.0.0.1:$port,linger=0" 2>/dev/null
done
check "others are served after five clients reset their connections" still_serves
timeout 0.3 "$samples/load" --connect "127.0.0.1:$port" --connections 50 --size 20000 --pipeline 4 \
    --duration 5 >/dev/null 2>&1
check "others are served after a client with 50 connections was killed" still_serves
wait "$slow"
check "a client gets its one byte a second back" test "$(cat "$work/slow")" = abc
others_end
check "none of them leaves a descriptor behind" descriptors_back_to "$at_rest"

# An idle server sleeps.
before=$(cpu_ms)
timeout -k 5 1 strace -c -f -o "$work/strace" -p "$server" 2>"$work/strace.err"
if grep -q attached "$work/strace.err"; then
    cat "$work/strace" # Empty if there was none at all.
    calls=$(awk '/^ *[0-9.]+ / && $NF != "total" { sum += $4 } END { print sum + 0 }' \
        "$work/strace")
    check "the idle server makes $calls system calls in a second" test "$calls" -le 3
else
    sleep 1
    echo "     system calls not counted: $(head -n 1 "$work/strace.err")"
fi
check "the idle server took $(($(cpu_ms) - before)) ms of processor time in a second" \
    test $(($(cpu_ms) - before)) -lt 50

check "SIGTERM ends the server with exit code 0" finish_with TERM
check "the report names engine and reason" \
    grep -qzP "\nengine=$engine\nreason=.*\n(.*\n)*accept_succeeded=[0-9]+\n" "$work/server.out"
check "the server had nothing to complain of" test ! -s "$work/server.err"

# --- Limits -------------------------------------------------------------------------------------

start 64
at_rest=$(descriptors)
fds=()
for ((index = 0; index < 200; ++index)); do
    connect && fds+=("$fd")
done
sleep 0.3 # Now it is full.
check "200 clients at ulimit -n 64: it is full with $(descriptors) descriptors" \
    test "$(descriptors)" -ge 64
check "200 clients at ulimit -n 64: the first one is served" replies "${fds[0]}" 2
before=$(cpu_ms)
sleep 3
spent=$(($(cpu_ms) - before))
check "200 clients at ulimit -n 64: $spent ms of processor time in 3 s" test "$spent" -lt 500
check "200 clients at ulimit -n 64: after that it still serves" replies "${fds[1]}" 2
disconnect "${fds[@]:0:100}"
check "the others get their turn when 100 of 200 have left" replies "${fds[140]}" 3
disconnect "${fds[@]:100}"
check "all 200 leave no descriptor" descriptors_back_to "$at_rest"
check "it serves as before" same client "$work/64K"
check "SIGINT ends the server with exit code 0" finish_with INT

start 1024 --idle-timeout 0.6 --max-connections 2
connect && first=$fd
connect && second=$fd
connect && third=$fd
check "--max-connections 2: the first is served" replies "$first" 2
! replies "$third" 0.2
check "--max-connections 2: the third has to wait" test $? -eq 0
disconnect "$first"
read -r -t 2 -u "$third" line
check "--max-connections 2: the third is served when the first has left" \
    test "$line" = "line for $third"
before=$(now_ms)
read -r -t 5 -u "$third" line
spent=$(($(now_ms) - before))
check "--idle-timeout 0.6: a silent client is let go after $spent ms" \
    test "$spent" -ge 500 -a "$spent" -lt 1500
disconnect "$second" "$third"

# --- The end ------------------------------------------------------------------------------------

connect && first=$fd # Idle, and does not close: it is told, and gets its second.
check "SIGTERM ends the server although a client does not close" finish_with TERM
disconnect "$first"

start 1024
"$samples/load" --connect "127.0.0.1:$port" --connections 64 --duration 20 \
    >/dev/null 2>"$work/load.err" &
others=($!)
sleep 1
kill -TERM "$server"
ended 8
check "SIGTERM under load: exit code $status after $took ms" test "$status" -eq 0 -a "$took" -lt 5000
wait "${others[0]}"
check "the clients are told of the end: $(head -n 1 "$work/load.err")" \
    grep -q end_of_stream "$work/load.err"
others=()

start 1024
never_reads
kill -TERM "$server"
sleep 0.5
check "SIGTERM and a client that never reads: the drain goes on" kill -0 "$server" 2>/dev/null
connect 2>/dev/null
check "SIGTERM and a client that never reads: nobody else gets in" test $? -ne 0
kill -TERM "$server" 2>/dev/null
ended 8
check "a second SIGTERM ends the drain: exit code $status after $took ms" \
    test "$status" -eq 0 -a "$took" -lt 1500
others_end

start 1024
never_reads
kill -TERM "$server"
ended 8
check "the drain ends after 5 s: exit code $status after $took ms" \
    test "$status" -eq 0 -a "$took" -ge 4500 -a "$took" -lt 6500
others_end

# --- Command lines ------------------------------------------------------------------------------

# refuses PROGRAM OPTION...: exit code 2, and a usage line on stderr alone.
refuses() {
    local out
    out=$(timeout 5 "$samples/$1" "${@:2}" 2>"$work/err" </dev/null)
    [ $? -eq 2 ] && [ -z "$out" ] && grep -q "^usage: $1 " "$work/err"
}
for program in echo_server echo_client load; do
    check "$program without its endpoint is refused" refuses "$program"
    check "$program refuses an option that it does not know" refuses "$program" --colour
done
check "echo_server refuses an endpoint that is none" refuses echo_server --listen nowhere
check "echo_server refuses an engine that is none" \
    refuses echo_server --listen 127.0.0.1:0 --engine steam
check "echo_server refuses no time at all" \
    refuses echo_server --listen 127.0.0.1:0 --idle-timeout 0
check "load refuses messages without bytes" refuses load --connect 127.0.0.1:1 --size 0
timeout 5 "$samples/echo_client" --connect 127.0.0.1:1 2>"$work/err" </dev/null
check "echo_client says who refuses: $(cat "$work/err")" \
    test $? -eq 0 -a "$(grep -c ECONNREFUSED "$work/err")" -eq 1

finish
