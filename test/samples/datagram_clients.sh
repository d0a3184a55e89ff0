#!/usr/bin/env bash
# datagram_clients.sh BUILD_DIR [ENGINE]: udp_echo and dns_server of BUILD_DIR/samples meet real
# clients, socat and dig, on that engine or on each in turn. Prints a line for each check, "ok: ..."
# or "FAIL: ...", and at the end "N passed, N failed". Every wait in it is bounded.
set -u

if [ $# -lt 1 ] || [ $# -gt 2 ] || [ ! -x "$1/samples/udp_echo" ]; then
    echo "usage: datagram_clients.sh BUILD_DIR [ENGINE]; BUILD_DIR holds samples/udp_echo" >&2
    exit 2
fi
if [ $# -eq 1 ]; then
    status=0
    for engine in uring epoll blocking; do
        echo "==== $engine"
        bash "$0" "$1" "$engine" || status=1
    done
    exit $status
fi
engine=$2
samples=$(cd -- "$1/samples" && pwd)
. "$(dirname -- "$0")/checks.sh"
server=
trap '[ -z "$server" ] || kill -KILL "$server" 2>/dev/null; rm -rf "$work"' EXIT

# start PROGRAM OPTION...: sets `server`, and `at`, where it listens.
start() {
    : >"$work/server.out"
    "$samples/$1" --engine "$engine" "${@:2}" >"$work/server.out" 2>"$work/server.err" &
    server=$!
    local attempt
    for attempt in {1..100}; do
        at=$(sed -n 's/^listening on //p' "$work/server.out")
        [ -z "$at" ] || return 0
        sleep 0.05
    done
    fail "$1 does not listen: $(cat "$work/server.err")"
    exit 1
}

# ends_with SIGNAL: the server does, with exit code 0.
ends_with() {
    kill -"$1" "$server"
    timeout 8 tail --pid="$server" -s 0.05 -f /dev/null
    kill -KILL "$server" 2>/dev/null
    wait "$server"
    local status=$?
    server=
    [ "$status" -eq 0 ]
}

# refuses PROGRAM OPTION...: exit code 2, and a usage line on stderr alone.
refuses() {
    local out
    out=$(timeout 5 "$samples/$1" "${@:2}" 2>"$work/err" </dev/null)
    [ $? -eq 2 ] && [ -z "$out" ] && grep -q "^usage: $1 " "$work/err"
}

for tool in socat dig; do
    command -v "$tool" >/dev/null || fail "$tool is not installed"
done
head -c 8000 /dev/urandom >"$work/8000" # One message: socat takes 8192 bytes at a time.

# --- udp_echo -----------------------------------------------------------------------------------

# echoes ADDRESS FILE: socat gets the file back from that address as one message.
echoes() { timeout 10 socat -T 1 - "$1" <"$2" | cmp - "$2"; }

start udp_echo --listen 127.0.0.1:0
port=${at##*:}
echo hello >"$work/hello"
check "socat gets a message back over UDP" echoes "UDP4:127.0.0.1:$port" "$work/hello"
check "socat gets 8000 bytes back over UDP" echoes "UDP4:127.0.0.1:$port" "$work/8000"
clients=()
for index in {1..20}; do
    (echo "client $index" >"$work/in.$index" && echoes "UDP4:127.0.0.1:$port" "$work/in.$index") &
    clients+=($!)
done
right=0
for client in "${clients[@]}"; do
    wait "$client" && right=$((right + 1))
done
check "20 clients at once: $right get their own message back" test "$right" -eq 20
check "SIGTERM ends udp_echo with exit code 0" ends_with TERM

if [ -e /proc/net/if_inet6 ] && start udp_echo --listen '[::1]:0'; then
    check "socat gets a message back over IPv6" echoes "UDP6:[::1]:${at##*:}" "$work/hello"
    check "SIGINT ends udp_echo with exit code 0" ends_with INT
fi

start udp_echo --listen "unix:$work/echo.sock"
check "it says where it listens: $at" test "$at" = "unix:$work/echo.sock"
check "socat gets a message back over a Unix socket" \
    echoes "UNIX-SENDTO:$work/echo.sock,bind=$work/client.sock" "$work/8000"
check "SIGTERM ends it on a Unix socket" ends_with TERM
timeout 5 "$samples/udp_echo" --listen "unix:$work/echo.sock" 2>"$work/err"
check "a name that is taken is said: $(cat "$work/err")" grep -q EADDRINUSE "$work/err"

# --- dns_server ---------------------------------------------------------------------------------

cat >"$work/hosts" <<'HOSTS'
192.0.2.1    one.test alias.test # two names
192.0.2.2    one.test
2001:db8::1  one.test six.test
not an address
HOSTS
for index in {1..100}; do
    echo "198.51.100.$index many.test"
done >>"$work/hosts"

start dns_server --listen 127.0.0.1:0 --hosts "$work/hosts"
port=${at##*:}

# ask OPTION...: what dig prints.
ask() { timeout 10 dig +tries=1 +time=3 @127.0.0.1 -p "$port" "$@" 2>&1; }
# short EXPECTED OPTION...: the answers, in order of their text, with blanks between them.
short() { [ "$(ask +short "${@:2}" | sort | tr '\n' ' ')" = "$1 " ]; }
# says PATTERN OPTION...: a line of the whole output does.
says() { ask "${@:2}" | grep -qE "$1"; }

check "dig gets both IPv4 addresses" short "192.0.2.1 192.0.2.2" one.test A
check "dig gets the IPv6 address" short "2001:db8::1" one.test AAAA
check "the case of a name does not count" short "192.0.2.1" ALIAS.test A
check "the answer is authoritative, with EDNS" says 'flags: qr aa' one.test
check "dig finds nothing wrong with it" test -z "$(ask +norecurse one.test | grep -iE 'warning|malformed|extra')"
check "an unknown name is NXDOMAIN" says 'status: NXDOMAIN' unknown.test
check "a name without an address of that kind: NOERROR" says 'status: NOERROR' six.test A
check "a name without an address of that kind: no answer" says 'ANSWER: 0' six.test A
check "another type: no answer" says 'ANSWER: 0' one.test MX
check "another class is REFUSED" says 'status: REFUSED' one.test CH A
check "another operation is NOTIMP" says 'status: NOTIMP' +opcode=update one.test
check "another version of EDNS is BADVERS" says 'status: BADVERS' +edns=1 +noednsnegotiation one.test
check "without EDNS a large answer is cut" says 'flags: qr aa tc' +noedns +ignore many.test
check "with EDNS more of it fits" says 'ANSWER: 7[0-9]' +bufsize=1232 +ignore many.test
check "a query without EDNS is answered without" test -z "$(ask +noedns one.test | grep 'EDNS: v')"
check "a header without a question is FORMERR" says 'status: FORMERR' +header-only one.test

# malformed BYTES: what the server answers, in hexadecimal.
malformed() {
    printf '%b' "$1" | timeout 10 socat -T 0.3 - "UDP4:127.0.0.1:$port" | od -An -tx1 | tr -d ' \n'
}
header='\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00'
formerr=123485010000000000000000
check "a question that points to itself is FORMERR" \
    test "$(malformed "$header\xc0\x0c\x00\x01\x00\x01")" = $formerr
check "a cut name is FORMERR" test "$(malformed "$header\x03on")" = $formerr
check "bytes behind the end are FORMERR" \
    test "$(malformed "$header\x03one\x04test\x00\x00\x01\x00\x01garbage")" = $formerr
check "65535 announced records that are not there are FORMERR" \
    test "$(malformed '\x12\x34\x01\x00\x00\x01\xff\xff\xff\xff\xff\xff\x00\x00\x01\x00\x01')" = $formerr
check "half a header is not answered" test -z "$(malformed '\x12\x34\x01')"
check "an answer is not answered" \
    test -z "$(malformed '\x12\x34\x81\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01')"
for index in {1..50}; do
    head -c $((RANDOM % 600)) /dev/urandom | timeout 5 socat -u - "UDP4-SENDTO:127.0.0.1:$port"
done
check "after 50 messages of noise it answers as before" short "192.0.2.1" alias.test A
check "SIGTERM ends dns_server with exit code 0" ends_with TERM
check "it had nothing to complain of" test ! -s "$work/server.err"

start dns_server --listen 0.0.0.0:0 --hosts "$work/hosts"
port=${at##*:}
check "the answer comes from the address that was asked" \
    test "$(timeout 10 dig +tries=1 +time=3 +short @127.0.0.7 -p "$port" alias.test)" = 192.0.2.1
check "SIGINT ends dns_server with exit code 0" ends_with INT

# --- Command lines ------------------------------------------------------------------------------

for program in udp_echo dns_server; do
    check "$program without its endpoint is refused" refuses "$program"
    check "$program refuses an option that it does not know" refuses "$program" --colour
    check "$program refuses an endpoint that is none" refuses "$program" --listen nowhere
done
check "dns_server without hosts is refused" refuses dns_server --listen 127.0.0.1:0
timeout 5 "$samples/dns_server" --listen 127.0.0.1:0 --hosts "$work/none" 2>"$work/err"
check "a hosts file that is not there is said: $(cat "$work/err")" grep -q ENOENT "$work/err"

finish
