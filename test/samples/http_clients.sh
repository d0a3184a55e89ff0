#!/usr/bin/env bash
# http_clients.sh BUILD_DIR [ENGINE]: BUILD_DIR/samples/http_hello meets curl, wrk and requests that no
# client would send, on that engine or on each in turn. Prints a line for each check, "ok: ..." or
# "FAIL: ...", and at the end "N passed, N failed". Every wait in it is bounded.
set -u

if [ $# -lt 1 ] || [ $# -gt 2 ] || [ ! -x "$1/samples/http_hello" ]; then
    echo "usage: http_clients.sh BUILD_DIR [ENGINE]; BUILD_DIR holds samples/http_hello" >&2
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
    start_server "$samples/http_hello" --listen 127.0.0.1:0 --engine "$engine" "$@"
}

get() { timeout 60 curl -sS --path-as-is "$@"; }
url() { echo "http://127.0.0.1:$port/$1"; }

# answers STATUS PATH OPTION...: whether that is the status.
answers() { [ "$(get -o /dev/null -w '%{http_code}' "${@:3}" "$(url "$2")")" = "$1" ]; }

# statuses TEXT: the status of each answer.
statuses() { says "$1" | tr -d '\r' | sed -n 's/^HTTP\/1\.1 \([0-9]*\) .*/\1/p' | paste -sd ' '; }

# hears STATUSES TEXT: whether those are the answers.
hears() {
    local heard
    heard=$(statuses "$2")
    [ "$heard" = "$1" ] || { echo "     it says: $heard" && false; }
}

start
at_rest=$(descriptors)
hello='Hello, World!'

# --- Clients that keep to the rules -------------------------------------------------------------

check "GET has the greeting" test "$(get "$(url '')")" = "$hello"
check "so it has on any path" test "$(get "$(url 'a/../b%20c?d=e#f')")" = "$hello"
check "HEAD has the length and no body" test \
    "$(get -I -w '%{size_download}' "$(url '')" | tr -d '\r' | sed -n 's/^Content-Length: //p;$p')" \
    = "$(printf '14\n0')"
date_is_now() {
    local stamp
    stamp=$(get -I "$(url '')" | tr -d '\r' | sed -n 's/^Date: //p')
    local age=$(($(date +%s) - $(date -d "$stamp" +%s)))
    [ -n "$stamp" ] && [ "$age" -ge -1 ] && [ "$age" -lt 60 ]
}
check "Date is now" date_is_now
check "one connection carries many requests" test \
    "$(get -w '%{num_connects}' -o /dev/null "$(url 1)" -o /dev/null "$(url 2)" \
        -o /dev/null "$(url 3)" -o /dev/null "$(url 4)")" = 1000
check "Connection: close is heeded" test \
    "$(get -H 'Connection: close' -w '%{num_connects}' -o /dev/null "$(url 1)" \
        -o /dev/null "$(url 2)")" = 11
check "HTTP/1.0 closes" test \
    "$(get --http1.0 -w '%{num_connects}' -o /dev/null "$(url 1)" -o /dev/null "$(url 2)")" = 11
one='GET / HTTP/1.1\r\nHost: x\r\n\r\n'
end='GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
old='GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n'
check "HTTP/1.0 goes on if asked to" hears '200 200' "$old$end$one"
check "lines that end with LF alone" hears 200 'GET / HTTP/1.1\nHost: x\n\n'
check "an empty line before a request" hears '200 200' "$one\r\n$one"
for index in {1..2000}; do printf 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'; done >"$work/many"
check "2000 requests in one go get 2000 answers" test \
    "$(timeout 20 socat -t 10 - "TCP:127.0.0.1:$port" <"$work/many" | grep -c '^Hello, World!')" -eq 2000
{
    printf 'GET / HT'
    sleep 0.1
    printf 'TP/1.1\r\nHost: x\r'
    sleep 0.1
    printf '\n\r\nGET'
    sleep 0.1
    printf ' / HTTP/1.1\r\nHost: x\r\n\r\n'
} | timeout 20 socat -t 10 - "TCP:127.0.0.1:$port" >"$work/back"
check "requests in pieces" test "$(grep -c '^Hello, World!' "$work/back")" -eq 2

# --- Bodies -------------------------------------------------------------------------------------

check "a body is skipped" hears '200 200' \
    "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 27\r\n\r\n$one$end"
check "a body that curl sends" answers 200 '' -X GET -d 'GET / HTTP/1.1'
head -c 65537 /dev/zero >"$work/body"
check "a large body is refused" answers 413 '' -X GET -H 'Expect:' --data-binary "@$work/body"
check "chunks are refused" answers 411 '' -X GET -H 'Transfer-Encoding: chunked' -d body
check "and nothing of them is a request" hears 411 \
    "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1b\r\n$one\r\n0\r\n\r\n$one"
check "another encoding is refused" hears 501 \
    "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n$one"
check "a length and chunks are refused" hears 400 \
    "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 27\r\nTransfer-Encoding: chunked\r\n\r\n$one$one"
check "two lengths are refused" hears 400 \
    "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 27\r\nContent-Length: 0\r\n\r\n$one$one"
check "a length that is none is refused" hears 400 \
    "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +27\r\n\r\n$one$one"

# --- Clients that do not ------------------------------------------------------------------------

check "POST is refused" answers 405 '' -X POST
check "what came before a refusal is answered, what follows is not" hears '200 200 405' \
    "$one${one}DELETE / HTTP/1.1\r\nHost: x\r\n\r\n$one"
check "no Host is refused" hears 400 'GET / HTTP/1.1\r\n\r\n'
check "two Hosts are refused" hears 400 'GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n'
check "a folded header is refused" hears 400 'GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n'
check "a blank before the colon is refused" hears 400 'GET / HTTP/1.1\r\nHost : x\r\n\r\n'
check "a zero byte is refused" hears 400 'GET / HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n'
check "another protocol is refused" hears 400 'SSH-2.0-OpenSSH_9.2\r\n'
check "HTTP/2.0 is refused" hears 505 'GET / HTTP/2.0\r\nHost: x\r\n\r\n'
check "a head beyond 16 KiB is 431" hears 431 \
    "GET / HTTP/1.1\r\nHost: x\r\nX: $(head -c 16400 /dev/zero | tr '\0' a)\r\n\r\n"
for index in {1..20}; do
    head -c 3000 /dev/urandom | timeout 5 socat -t 2 - "TCP:127.0.0.1:$port" >/dev/null 2>&1
done
check "it serves after noise" test "$(get "$(url '')")" = "$hello"
check "none of them leaves a descriptor behind" descriptors_back_to "$at_rest"

# --- Load ---------------------------------------------------------------------------------------

# whole: whether wrk got answers, and nothing else.
whole() { grep -q '^Requests/sec' "$work/wrk" && ! grep -qE 'Non-2xx|Socket errors' "$work/wrk"; }
timeout 30 wrk -t 1 -c 64 -d 1 "$(url '')" >"$work/wrk" 2>&1
sed -n 's/^Requests/     wrk: Requests/p' "$work/wrk"
check "wrk gets whole answers" whole
cat >"$work/pipeline.lua" <<'LUA'
init = function()
    local each = {}
    for index = 1, 16 do each[index] = wrk.format() end
    all = table.concat(each)
end
request = function() return all end
LUA
timeout 30 wrk -t 1 -c 64 -d 1 -s "$work/pipeline.lua" "$(url '')" >"$work/wrk" 2>&1
sed -n 's/^Requests/     wrk, pipelined: Requests/p' "$work/wrk"
check "wrk gets them pipelined" whole
check "load leaves no descriptor behind" descriptors_back_to "$at_rest"

# --- The end ------------------------------------------------------------------------------------

exec {waiting}<>"/dev/tcp/127.0.0.1/$port"
printf "$one" >&"$waiting"
read -r -t 10 -u "$waiting" line
check "SIGTERM ends the server with exit code 0, a waiting client or not" finish_with TERM
exec {waiting}>&-
check "the server had nothing to complain of" test ! -s "$work/server.err"

start --idle-timeout 0.5
exec {silent}<>"/dev/tcp/127.0.0.1/$port"
read -r -t 10 -u "$silent" line
check "a silent client is let go" test $? -eq 1 -a -z "$line"
exec {silent}>&-
check "SIGINT ends the server with exit code 0" finish_with INT

check "it needs an endpoint" refuses_options "$samples/http_hello"
check "it refuses an option that it does not know" \
    refuses_options "$samples/http_hello" --listen 127.0.0.1:0 --colour

finish
