#!/usr/bin/env bash
# resolve.sh BUILD_DIR [ENGINE]: BUILD_DIR/samples/resolve on that engine or on each in turn. Asks
# for nothing but localhost and a name that cannot exist. Prints a line for each check, "ok: ..." or
# "FAIL: ...", and at the end "N passed, N failed".
set -u

if [ $# -lt 1 ] || [ $# -gt 2 ] || [ ! -x "$1/samples/resolve" ]; then
    echo "usage: resolve.sh BUILD_DIR [ENGINE]; BUILD_DIR holds samples/resolve" >&2
    exit 2
fi
resolve=$(cd -- "$1/samples" && pwd)/resolve
engines=(uring epoll blocking)
[ $# -eq 1 ] || engines=("$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

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

# run ARGUMENT...: sets `status`; what it prints is in out and err.
run() {
    timeout 60 "$resolve" "$@" --engine "$engine" >"$work/out" 2>"$work/err" </dev/null
    status=$?
}

# prints LINE...: exit code 0, these lines, and nothing on stderr.
prints() { [ "$status" -eq 0 ] && printf '%s\n' "$@" | cmp -s - "$work/out" && [ ! -s "$work/err" ]; }

# loopback_only: at least one line, and each is loopback at the port of https.
loopback_only() {
    [ "$status" -eq 0 ] && [ -s "$work/out" ] &&
        ! grep -qvE '^(127\.[0-9.]+|\[::1\]):443$' "$work/out"
}

# says PATTERN: exit code 1 and one line on stderr alone.
says() {
    [ "$status" -eq 1 ] && [ ! -s "$work/out" ] && [ "$(wc -l <"$work/err")" -eq 1 ] &&
        grep -qE "$1" "$work/err"
}

# refused: exit code 2, and a usage line on stderr alone.
refused() { [ "$status" -eq 2 ] && [ ! -s "$work/out" ] && grep -q '^usage: resolve ' "$work/err"; }

for engine in "${engines[@]}"; do
    echo "==== $engine"
    run 127.0.0.1 7000
    check "an IPv4 address" prints 127.0.0.1:7000
    run ::1 443
    check "an IPv6 address" prints '[::1]:443'
    run 127.0.0.1
    check "an address without a service" prints 127.0.0.1:0
    run localhost 443
    check "localhost is loopback: $(tr '\n' ' ' <"$work/out")" loopback_only
    run localhost 443 --ipv4
    check "localhost over IPv4" prints 127.0.0.1:443
    run nobody.invalid 80 --timeout 30
    check "a name that cannot exist: $(cat "$work/err")" \
        says '^resolve: nobody\.invalid: (EAI_(NONAME|AGAIN|NODATA|FAIL)|timed_out): '
    run 127.0.0.1 no-such-service
    check "a service that does not exist: $(cat "$work/err")" says ': EAI_(SERVICE|NONAME): '
    run
    check "a host is needed" refused
    run a b c
    check "a third argument is refused" refused
    run localhost --colour
    check "an option that does not exist is refused" refused

    # A name server that never answers, in a network and with a resolv.conf of its own: the port is
    # open and nobody answers. A program that waited for it would take minutes and be killed. Not
    # every machine lets a script have those.
    if unshare --mount --net true 2>/dev/null && command -v socat >/dev/null; then
        printf 'nameserver 127.0.0.1\noptions timeout:30 attempts:5\n' >"$work/resolv.conf"
        printf 'hosts: dns\n' >"$work/nsswitch.conf"
        cat >"$work/held" <<'HELD'
mount --bind "$1/resolv.conf" /etc/resolv.conf && mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf
ip link set lo up
socat -u UDP4-RECV:53,bind=127.0.0.1 OPEN:"$1/asked",creat,append &
server=$!
: >"$1/asked"
for attempt in {1..100}; do
    [ -z "$(ss -Hlun 'sport = :53')" ] || break
    sleep 0.05
done
"$2" host.example 80 --engine "$3" >"$1/out" 2>"$1/err" &
client=$!
for attempt in {1..200}; do
    [ ! -s "$1/asked" ] || break
    sleep 0.05
done
[ -s "$1/asked" ] || echo "nobody was asked" >>"$1/err"
kill -INT $client
wait $client
echo $? >"$1/status"
"$2" host.example 80 --timeout 0.1 --engine "$3" >"$1/out2" 2>"$1/err2"
echo $? >"$1/status2"
kill $server
HELD
        timeout 60 unshare --mount --net bash "$work/held" "$work" "$resolve" "$engine"
        check "SIGINT ends it while a name server is silent" \
            test "$(cat "$work/status")" = 130 -a ! -s "$work/out" -a ! -s "$work/err"
        check "and a limit: $(cat "$work/err2")" \
            grep -q '^resolve: host\.example: timed_out: ' "$work/err2"
    else
        echo "SKIP: a silent name server: needs unshare with the rights for it, and socat"
    fi
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
