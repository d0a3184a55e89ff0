#!/usr/bin/env bash
# socks5_clients.sh BUILD_DIR [ENGINE]: BUILD_DIR/samples/socks5_proxy meets curl, nc and clients
# that speak something else, with file_server and echo_server behind it, on that engine or on each in
# turn. Prints a line for each check, "ok: ..." or "FAIL: ...", and at the end "N passed, N failed".
# Every wait in it is bounded.
set -u

if [ $# -lt 1 ] || [ $# -gt 2 ] || [ ! -x "$1/samples/socks5_proxy" ]; then
    echo "usage: socks5_clients.sh BUILD_DIR [ENGINE]; BUILD_DIR holds samples/socks5_proxy" >&2
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
proxy= files= echoes= files6=
trap '{ kill -KILL $proxy $files $files6 $echoes; wait; } 2>/dev/null; rm -rf "$work"' EXIT

# start PROGRAM OPTION...: on a port that the kernel chooses; sets `started` and `port`.
start() {
    local out=$work/$1.$RANDOM.out attempt
    : >"$out"
    "$samples/$1" --engine "$engine" "${@:2}" >"$out" 2>>"$work/err" &
    started=$!
    for attempt in {1..100}; do
        port=$(sed -n 's/^listening on .*:\([0-9]*\)$/\1/p' "$out")
        [ -z "$port" ] || return 0
        sleep 0.05
    done
    fail "$1 does not listen: $(cat "$work/err")"
    exit 1
}

# finish_with SIGNAL: ends the proxy.
finish_with() {
    local status
    kill -"$1" "$proxy"
    timeout 10 tail --pid="$proxy" -s 0.05 -f /dev/null
    if kill -0 "$proxy" 2>/dev/null; then
        kill -KILL "$proxy"
    fi
    wait "$proxy" 2>/dev/null
    status=$?
    proxy=
    [ "$status" -eq 0 ]
}

by_name() { timeout 30 curl -sS --socks5-hostname "127.0.0.1:$port" "$@"; }
by_address() { timeout 30 curl -sS --socks5 "127.0.0.1:$port" "$@"; }

# says_by_hand BYTES: sends them, as printf spells them, and prints what comes back, in hexadecimal.
says_by_hand() {
    printf "$1" | timeout 10 socat -t 5 - "TCP:127.0.0.1:$port" | od -An -tx1 | tr -d ' \n'
}

descriptors() {
    local all=("/proc/$proxy/fd/"*)
    echo "${#all[@]}"
}

descriptors_back_to() {
    local attempt
    for attempt in {1..60}; do
        [ "$(descriptors)" -gt "$1" ] || return 0
        sleep 0.05
    done
    echo "     it has $(descriptors) descriptors, not $1"
    return 1
}

mkdir "$work/root"
head -c 5000000 /dev/urandom >"$work/root/large"
echo hello >"$work/root/hello"
start file_server --listen 127.0.0.1:0 --root "$work/root"
files=$started files_port=$port
start file_server --listen '[::1]:0' --root "$work/root"
files6=$started files6_port=$port
start echo_server --listen 127.0.0.1:0
echoes=$started echo_port=$port
start socks5_proxy --listen 127.0.0.1:0
proxy=$started
at_rest=$(descriptors)

check "curl gets a file by the name of the host" \
    cmp <(by_name "http://localhost:$files_port/large") "$work/root/large"
check "curl gets it by an IPv4 address" \
    cmp <(by_address "http://127.0.0.1:$files_port/large") "$work/root/large"
check "curl gets it by an IPv6 address" \
    cmp <(by_address "http://[::1]:$files6_port/large") "$work/root/large"
check "a name that is an address is one" test "$(by_name "http://127.0.0.1:$files_port/hello")" = hello

# curl says which reply it got.
refused_with() { by_name "$2" 2>&1 | grep -q "($1)"; }
check "nobody listens: refused" refused_with 5 http://127.0.0.1:1/
check "a host that nobody knows: unreachable" refused_with 4 http://nobody.invalid/

timeout 20 nc -N -X 5 -x "127.0.0.1:$port" 127.0.0.1 "$echo_port" <"$work/root/large" >"$work/back"
check "all comes back after the client has ended its side" cmp "$work/back" "$work/root/large"
for index in {1..20}; do
    timeout 20 nc -N -X 5 -x "127.0.0.1:$port" 127.0.0.1 "$echo_port" <"$work/root/large" \
        >"$work/back.$index" &
    clients[index]=$!
done
wait "${clients[@]}"
same=0
for index in {1..20}; do
    cmp -s "$work/back.$index" "$work/root/large" && same=$((same + 1))
done
check "20 clients at a time: $same got all back" test "$same" -eq 20

hello='\x05\x01\x00'
echo_hex=$(printf '%04x' "$echo_port")
echo_bytes="\\x${echo_hex:0:2}\\x${echo_hex:2:2}"
check "bytes sent along with the request arrive" eval \
    '[[ $(says_by_hand "$hello\x05\x01\x00\x01\x7f\x00\x00\x01${echo_bytes}abc") =~ ^0500050000017f000001....616263$ ]]'
check "a name sent by hand" eval \
    '[[ $(says_by_hand "$hello\x05\x01\x00\x03\x09localhost${echo_bytes}abc") =~ ^0500050000.*616263$ ]]'
check "no method that will do" test "$(says_by_hand '\x05\x01\x02')" = 05ff
check "no method at all" test "$(says_by_hand '\x05\x00')" = 05ff
check "a version that is none" test "$(says_by_hand '\x04\x01\x00\x50\x7f\x00\x00\x01\x00')" = ''
check "BIND is refused" eval \
    '[[ $(says_by_hand "$hello\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x01") =~ ^05000507 ]]'
check "UDP ASSOCIATE is refused" eval \
    '[[ $(says_by_hand "$hello\x05\x03\x00\x01\x7f\x00\x00\x01\x00\x01") =~ ^05000507 ]]'
check "an address of another type is refused" eval \
    '[[ $(says_by_hand "$hello\x05\x01\x00\x02\x7f\x00\x00\x01\x00\x01") =~ ^05000508 ]]'
check "an empty name is refused" eval \
    '[[ $(says_by_hand "$hello\x05\x01\x00\x03\x00\x00\x01") =~ ^05000501 ]]'
check "a name with a zero byte is refused" eval \
    '[[ $(says_by_hand "$hello\x05\x01\x00\x03\x03a\x00b\x00\x01") =~ ^05000501 ]]'
check "half a request is not answered" test "$(says_by_hand "$hello"'\x05\x01')" = 0500
for index in {1..20}; do
    head -c 3000 /dev/urandom | timeout 5 socat -t 2 - "TCP:127.0.0.1:$port" >/dev/null 2>&1
    timeout 0.1 curl -s -o /dev/null --limit-rate 1000 --socks5 "127.0.0.1:$port" \
        "http://127.0.0.1:$files_port/large"
done
check "it serves after noise, and after downloads that were broken off" \
    test "$(by_address "http://127.0.0.1:$files_port/hello")" = hello
check "none of them leaves a descriptor behind" descriptors_back_to "$((at_rest + 2))"
check "SIGTERM ends the proxy with exit code 0" finish_with TERM

start socks5_proxy --listen 127.0.0.1:0 --timeout 0.5
proxy=$started
exec {silent}<>"/dev/tcp/127.0.0.1/$port"
read -r -t 10 -u "$silent" line
check "a client that asks for nothing is let go" test $? -eq 1
exec {silent}>&-
check "SIGINT ends the proxy with exit code 0" finish_with INT
check "nobody had anything to complain of" test ! -s "$work/err"

usage_of() {
    local out
    out=$(timeout 5 "$samples/socks5_proxy" "$@" 2>"$work/usage" </dev/null)
    [ $? -eq 2 ] && [ -z "$out" ] && grep -q '^usage: socks5_proxy ' "$work/usage"
}
check "it needs an endpoint" usage_of
check "it refuses an option that it does not know" usage_of --listen 127.0.0.1:0 --colour

finish
