#!/usr/bin/env bash
# kv_clients.sh BUILD_DIR [ENGINE]: BUILD_DIR/samples/kv_server meets redis-cli, redis-benchmark and
# bytes that no client would send, on that engine or on each in turn. Prints a line for each check,
# "ok: ..." or "FAIL: ...", and at the end "N passed, N failed". Every wait in it is bounded.
set -u

if [ $# -lt 1 ] || [ $# -gt 2 ] || [ ! -x "$1/samples/kv_server" ]; then
    echo "usage: kv_clients.sh BUILD_DIR [ENGINE]; BUILD_DIR holds samples/kv_server" >&2
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
. "$(dirname -- "$0")/support.sh"

# start OPTION...
start() {
    start_server "$samples/kv_server" --listen 127.0.0.1:0 --engine "$engine" "$@"
}

cli() { timeout 60 redis-cli -p "$port" "$@"; }

# gives TEXT ARGUMENT...: whether redis-cli prints that.
gives() {
    local out
    out=$(cli --no-raw "${@:2}" 2>&1)
    [ "$out" = "$1" ] || { echo "     it says: $out" && false; }
}

# hears TEXT ANSWER: whether that is all that comes back, spelled likewise.
hears() {
    cmp -s <(says "$1") <(printf "$2") || { says "$1" | head -c 300 | cat -A && false; }
}

# tells NAME: the value that INFO has under that name.
tells() { cli INFO | tr -d '\r' | sed -n "s/^$1://p"; }

start
at_rest=$(descriptors)

# --- Every command, by redis-cli ----------------------------------------------------------------

check "PING" gives PONG PING
check "PING with a message" gives '"hi there"' PING 'hi there'
check "ECHO" gives '"one two"' ECHO 'one two'
check "SET" gives OK SET greeting hello
check "GET" gives '"hello"' GET greeting
check "GET of what is not there" gives '(nil)' GET nothing
check "SET NX of what is there" gives '(nil)' SET greeting x NX
check "SET XX GET" gives '"hello"' SET greeting hullo XX GET
check "names of commands and options in any case" gives OK sEt greeting hello xX
check "MSET" gives OK MSET a 1 b 2
check "MGET" gives $'1) "1"\n2) (nil)\n3) "2"' MGET a c b
check "DEL" gives '(integer) 2' DEL a b c
check "INCR of what is not there" gives '(integer) 1' INCR counter
check "INCR" gives '(integer) 2' INCR counter
check "INCR of what is no number" \
    gives '(error) ERR value is not an integer or out of range' INCR greeting
cli SET counter 9223372036854775807 >/dev/null
check "INCR at the end of the numbers" \
    gives '(error) ERR increment or decrement would overflow' INCR counter
check "TTL of what is not there" gives '(integer) -2' TTL nothing
check "TTL of what has no end" gives '(integer) -1' TTL greeting
check "EXPIRE" gives '(integer) 1' EXPIRE greeting 1000
check "EXPIRE of what is not there" gives '(integer) 0' EXPIRE nothing 1000
check "TTL" eval '[ "$(cli TTL greeting)" -gt 900 ] && [ "$(cli TTL greeting)" -le 1000 ]'
check "SET forgets the end" eval 'cli SET greeting x >/dev/null; gives "(integer) -1" TTL greeting'
check "EXPIRE that is over removes" eval 'cli EXPIRE greeting 0 >/dev/null; gives "(nil)" GET greeting'
check "an unknown command" \
    gives "(error) ERR unknown command 'FLY', with args beginning with: 'away' " FLY away
check "a wrong number of arguments" \
    gives "(error) ERR wrong number of arguments for 'get' command" GET
check "QUIT" hears 'QUIT\r\nPING\r\n' '+OK\r\n'

gone() {
    local attempt
    for attempt in {1..200}; do
        [ "$(tells expired_keys)" -lt "$1" ] || return 0
        sleep 0.05
    done
    return 1
}
expired=$(tells expired_keys)
for index in {1..3000}; do echo "SET short:$index value PX 1"; done | cli --pipe >"$work/pipe" 2>&1
check "--pipe takes 3000 commands" grep -q 'errors: 0, replies: 3000' "$work/pipe"
check "keys that nobody asks for are removed in their time" gone $((expired + 3000))

# --- Values -------------------------------------------------------------------------------------

head -c 1048576 /dev/urandom >"$work/large"
check "a value of 1 MiB arrives as it is" eval '
    [ "$(cli -x SET large <"$work/large")" = OK ] &&
    cmp -s <(cli --raw GET large | head -c 1048576) "$work/large"'
# In pieces of one byte up, with a pause between them.
{
    printf '*3\r\n$3\r\nSET\r\n$6\r\npieces\r\n$1048576\r\n'
    cat "$work/large"
    printf '\r\n*2\r\n$3\r\nGE'
    sleep 0.1
    printf 'T\r\n$6\r\npie'
    sleep 0.1
    printf 'ces\r\nQUIT\r\n'
} | timeout 20 socat -t 10 -b 3000 - "TCP:127.0.0.1:$port" >"$work/back"
check "and so it does in pieces" cmp -s "$work/back" \
    <(printf '+OK\r\n$1048576\r\n' && cat "$work/large" && printf '\r\n+OK\r\n')
check "a value may hold any byte" hears \
    '*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$6\r\n\x00\r\n\xff*3\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n' \
    '+OK\r\n$6\r\n\x00\r\n\xff*3\r\n'
check "a key may be empty" hears 'SET "" v\r\nGET ""\r\nDEL ""\r\n' '+OK\r\n$1\r\nv\r\n:1\r\n'

# --- Lines and pipelines ------------------------------------------------------------------------

check "a line is a command" hears 'PING\r\nSET line "a b\\x21"\nGET line\r\n' \
    '+PONG\r\n+OK\r\n$4\r\na b!\r\n'
check "empty lines and empty arrays have no answer" \
    hears '\r\n\n*0\r\n*-1\r\n   \r\nPING\r\n' '+PONG\r\n'
for index in {1..10000}; do printf 'INCR piped\r\n'; done >"$work/incr"
for index in {1..10000}; do printf ':%d\r\n' "$index"; done >"$work/counted"
check "10000 commands in one go are answered in order" \
    cmp -s <(timeout 20 socat -t 10 - "TCP:127.0.0.1:$port" <"$work/incr") "$work/counted"
# They are 20 MiB and the client takes nothing for a while; the server waits.
check "answers that pile up arrive whole" test "$(
    { for index in {1..20}; do printf 'GET large\r\n'; done && printf 'QUIT\r\n'; } |
        timeout 20 socat -t 10 - "TCP:127.0.0.1:$port" | { sleep 0.3 && wc -c; }
)" -eq $((20 * (1048576 + 12) + 5))

# --- What breaks the protocol -------------------------------------------------------------------

# refuses WHY TEXT: an error and the end, after the answer to what came before.
refuses() { hears "PING\r\n$2PING\r\n" "+PONG\r\n-ERR Protocol error: $1\r\n"; }
check "a count that is none" refuses 'invalid multibulk length' '*x\r\n'
check "too many arguments" refuses 'invalid multibulk length' '*65537\r\n'
check "no bulk string" refuses "expected '\$', got ':'" '*1\r\n:1\r\n'
check "a length that is none" refuses 'invalid bulk length' '*1\r\n$x\r\n'
check "a negative length" refuses 'invalid bulk length' '*1\r\n$-1\r\n'
check "a length beyond the limit" refuses 'invalid bulk length' '*1\r\n$67108865\r\n'
check "a bulk string of another length" \
    refuses 'expected CR LF after a bulk string' '*1\r\n$3\r\nPING\r\n'
check "an open quote" refuses 'unbalanced quotes in request' 'ECHO "x\r\n'
head -c 70000 /dev/zero | tr '\0' x >"$work/line"
check "a line beyond the limit" test \
    "$(timeout 10 socat -t 5 - "TCP:127.0.0.1:$port" <"$work/line" | tr -d '\r')" = \
    '-ERR Protocol error: too big inline request'
# A promise costs nothing: a hundred clients announce 64 MiB each.
clients=()
for index in {1..100}; do
    exec {client}<>"/dev/tcp/127.0.0.1/$port"
    printf '*65536\r\n$67108864\r\nx' >&"$client"
    clients+=("$client")
done
check "what is announced takes no memory" test "$(tells used_memory_rss)" -lt 200000000
for client in "${clients[@]}"; do exec {client}>&-; done
for index in {1..20}; do
    head -c 3000 /dev/urandom | timeout 5 socat -t 2 - "TCP:127.0.0.1:$port" >/dev/null 2>&1
done
check "it serves after noise" gives PONG PING
check "none of them leaves a descriptor behind" descriptors_back_to "$at_rest"

# --- INFO ---------------------------------------------------------------------------------------

check "INFO names the engine" test "$(tells engine)" = "$engine"
check "INFO names the process" test "$(tells process_id)" -eq "$server"
check "INFO counts the clients" test "$(tells connected_clients)" -eq 1
check "INFO has one section alone" test "$(cli INFO stats | grep -c '^#')" -eq 1

# --- Load ---------------------------------------------------------------------------------------

timeout 60 redis-benchmark -p "$port" -q -n 5000 -c 50 -t ping,set,get,incr,mset >"$work/bench" 2>&1
sed 's/.*\r//; /requests per second/!d; s/^/     /' "$work/bench"
check "redis-benchmark gets its answers" eval \
    '[ "$(grep -c "requests per second" "$work/bench")" -eq 6 ] && ! grep -qi error "$work/bench"'
timeout 60 redis-benchmark -p "$port" -q -n 20000 -c 50 -P 16 -r 1000 -d 100 -t set,get \
    >"$work/bench" 2>&1
check "redis-benchmark gets them pipelined" eval \
    '[ "$(grep -c "requests per second" "$work/bench")" -eq 2 ] && ! grep -qi error "$work/bench"'
check "load leaves no descriptor behind" descriptors_back_to "$at_rest"

# --- The end ------------------------------------------------------------------------------------

exec {waiting}<>"/dev/tcp/127.0.0.1/$port"
printf 'PING\r\n' >&"$waiting"
read -r -t 10 -u "$waiting" line
check "SIGTERM ends the server with exit code 0, a waiting client or not" finish_with TERM
exec {waiting}>&-
check "the server had nothing to complain of" test ! -s "$work/server.err"

start --value-max 1000 --idle-timeout 0.5
check "--value-max is the limit" refuses 'invalid bulk length' '*1\r\n$1001\r\n'
exec {silent}<>"/dev/tcp/127.0.0.1/$port"
read -r -t 10 -u "$silent" line
check "a silent client is let go" test $? -eq 1 -a -z "$line"
exec {silent}>&-
check "SIGINT ends the server with exit code 0" finish_with INT

check "it needs an endpoint" refuses_options "$samples/kv_server"
check "it refuses an option that it does not know" \
    refuses_options "$samples/kv_server" --listen 127.0.0.1:0 --colour
check "it refuses a limit of nothing" \
    refuses_options "$samples/kv_server" --listen 127.0.0.1:0 --value-max 0

finish
