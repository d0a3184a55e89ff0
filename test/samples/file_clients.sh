#!/usr/bin/env bash
# file_clients.sh BUILD_DIR [ENGINE]: BUILD_DIR/samples/file_server meets curl, wrk and requests that
# no client would send, on that engine or on each in turn. Prints a line for each check, "ok: ..." or
# "FAIL: ...", and at the end "N passed, N failed". Every wait in it is bounded.
set -u

if [ $# -lt 1 ] || [ $# -gt 2 ] || [ ! -x "$1/samples/file_server" ]; then
    echo "usage: file_clients.sh BUILD_DIR [ENGINE]; BUILD_DIR holds samples/file_server" >&2
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
root=$work/root

# start OPTION...
start() {
    start_server "$samples/file_server" --listen 127.0.0.1:0 --root "$root" --engine "$engine" "$@"
}

get() { timeout 60 curl -sS --path-as-is "$@"; }
url() { echo "http://127.0.0.1:$port/$1"; }

# code PATH OPTION...: the status that curl gets.
code() { get -o /dev/null -w '%{http_code}' "${@:2}" "$(url "$1")"; }

# answers STATUS PATH OPTION...: whether that is the status.
answers() { [ "$(code "$2" "${@:3}")" = "$1" ]; }

# refuses STATUS TEXT: whether the first answer has that status.
refuses() { says "$2" | head -n 1 | tr -d '\r' | grep -qa "^HTTP/1.1 $1 "; }

# --- A folder, and what lies outside of it ------------------------------------------------------

mkdir -p "$root/folder" "$root/bare"
echo secret >"$work/secret"
echo 'hello, world' >"$root/hello.txt"
echo '<p>index</p>' >"$root/index.html"
echo '<p>folder</p>' >"$root/folder/index.html"
echo spaced >"$root/a b%c.txt"
: >"$root/empty"
head -c 10000000 /dev/urandom >"$root/large"
truncate -s 6G "$root/huge"
printf tail | dd of="$root/huge" bs=1 seek=$((6 * 1024 * 1024 * 1024)) conv=notrunc status=none
ln -s hello.txt "$root/inside"
ln -s ../secret "$root/outside"
ln -s "$work/secret" "$root/absolute"
ln -s .. "$root/up"
ln -s /proc/self/root "$root/magic"
ln -s loop "$root/loop"
mkfifo "$root/pipe"
head -c 300 /dev/zero | tr '\0' a >"$work/long"
long=$(cat "$work/long")

start
at_rest=$(descriptors)

# --- Clients that keep to the rules -------------------------------------------------------------

check "a file arrives as it is" cmp <(get "$(url large)") "$root/large"
check "an empty file arrives" test "$(get -w '%{http_code} %{size_download}' "$(url empty)")" = "200 0"
check "a folder stands for its index.html" test "$(get "$(url folder/)")" = '<p>folder</p>'
check "the root does too" test "$(get "$(url '')")" = '<p>index</p>'
check "a name is decoded" test "$(get "$(url 'a%20b%25c.txt?query')")" = spaced
check "a link that stays inside is followed" test "$(get "$(url inside)")" = 'hello, world'
check "the type follows the name" \
    test "$(get -o /dev/null -w '%{content_type}' "$(url hello.txt)")" = 'text/plain; charset=utf-8'
check "what is not there is 404" answers 404 nothing
check "below a file there is nothing" answers 404 hello.txt/more
check "a folder without index.html is 404" answers 404 bare/
check "HEAD has the length and no body" test \
    "$(get -I -w '%{size_download}' "$(url large)" | tr -d '\r' | sed -n 's/^Content-Length: //p;$p')" \
    = "$(printf '10000000\n0')"

part() { get -r "$1" "$(url large)"; }
cut_out() { tail -c +"$(($1 + 1))" "$root/large" | head -c "$2"; }
check "a range from the middle" cmp <(part 1000000-1999999) <(cut_out 1000000 1000000)
check "a range to the end" cmp <(part 9999990-) <(cut_out 9999990 10)
check "a range from the end" cmp <(part -7) <(cut_out 9999993 7)
check "a range of one byte" cmp <(part 0-0) <(cut_out 0 1)
check "a range is 206" answers 206 large -r 5-9
check "a range that ends beyond the file is cut" test "$(part 9999999-99999999999 | wc -c)" -eq 1
check "a range beyond the file is 416" answers 416 large -r 10000000-
check "several ranges are answered with all" answers 200 large -r 0-0,5-5
check "a range that is none is answered with all" answers 200 large -r 9-5
check "a range beyond 4 GiB" test "$(get -r 6442450944- "$(url huge)")" = tail

stamp=$(get -I "$(url hello.txt)" | tr -d '\r' | sed -n 's/^Last-Modified: //p')
check "If-Modified-Since with its date is 304" answers 304 hello.txt -H "If-Modified-Since: $stamp"
check "If-Modified-Since with an older one is 200" \
    answers 200 hello.txt -H 'If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT'
check "If-Range with its date heeds the range" answers 206 large -r 0-0 \
    -H "If-Range: $(get -I "$(url large)" | tr -d '\r' | sed -n 's/^Last-Modified: //p')"
check "If-Range with another one does not" answers 200 large -r 0-0 \
    -H 'If-Range: Thu, 01 Jan 1970 00:00:00 GMT'

check "one connection carries many requests" test \
    "$(get -w '%{num_connects}' -o /dev/null "$(url hello.txt)" -o /dev/null "$(url hello.txt)" \
        -o /dev/null "$(url nothing)" -o /dev/null "$(url hello.txt)")" = 1000
one='GET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n'
check "ten requests in one packet get ten answers" test \
    "$(says "$one$one$one$one$one$one$one$one$one$one" | grep -c '^hello, world')" -eq 10
check "Connection: close closes" test \
    "$(says "GET /hello.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n$one" |
        grep -c '^hello, world')" -eq 1
check "HTTP/1.0 closes" test \
    "$(says "GET /hello.txt HTTP/1.0\r\n\r\n$one" | grep -c '^hello, world')" -eq 1
check "an absolute target" test \
    "$(says 'GET http://x/hello.txt HTTP/1.1\r\nHost: x\r\n\r\n' | tail -n 1)" = 'hello, world'
check "lines that end with LF alone" test \
    "$(says 'GET /hello.txt HTTP/1.1\nHost: x\n\n' | tail -n 1)" = 'hello, world'

# --- Clients that do not ------------------------------------------------------------------------

for path in ../secret ..%2fsecret %2e%2e/secret folder/../../secret ../root/../secret \
    ..//secret ./../secret; do
    check "$path does not lead out" answers 403 "$path"
done
for link in outside absolute up/secret magic/etc/passwd loop; do
    check "the link $link does not lead out" answers 403 "$link"
done
check "//etc/passwd is below the root" answers 404 /etc/passwd
check "a path stays inside in spite of .." test "$(get "$(url folder/../hello.txt)")" = 'hello, world'
check "a pipe is refused, at once" answers 403 pipe
check "%00 is refused" answers 400 'hello.txt%00.html'
check "a zero byte is refused" refuses 400 'GET /hello.txt\x00 HTTP/1.1\r\nHost: x\r\n\r\n'
check "%zz is refused" answers 400 '%zz'
check "a % at the end is refused" answers 400 'hello%2'
check "a name of 300 bytes is 404" answers 404 "$long"
check "POST is refused" answers 405 hello.txt -X POST
check "OPTIONS is refused" answers 405 hello.txt -X OPTIONS
check "a body is refused" answers 400 hello.txt -X GET -d body
check "chunks are refused" answers 400 hello.txt -X GET -H 'Transfer-Encoding: chunked' -d body
check "a target without slash is refused" refuses 400 'GET hello.txt HTTP/1.1\r\nHost: x\r\n\r\n'
check "no Host is refused" refuses 400 'GET / HTTP/1.1\r\n\r\n'
check "two Hosts are refused" refuses 400 'GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n'
check "a folded header is refused" refuses 400 'GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n'
check "a blank before the colon is refused" refuses 400 'GET / HTTP/1.1\r\nHost : x\r\n\r\n'
check "another protocol is refused" refuses 400 'SSH-2.0-OpenSSH_9.2\r\n'
check "an empty line is refused" refuses 400 '\r\n\r\n'
check "HTTP/2.0 is refused" refuses 505 'GET / HTTP/2.0\r\nHost: x\r\n\r\n'
check "a long target is 414" refuses 414 "GET /$(head -c 5000 /dev/zero | tr '\0' a) HTTP/1.1\r\n\r\n"
check "a long header is 431" \
    refuses 431 "GET / HTTP/1.1\r\nX: $(head -c 5000 /dev/zero | tr '\0' a)\r\n\r\n"
check "many headers are 431" refuses 431 "GET / HTTP/1.1\r\n$(printf 'X: y\\r\\n%.0s' {1..100})\r\n"
for index in {1..20}; do
    head -c 3000 /dev/urandom | timeout 5 socat -t 2 - "TCP:127.0.0.1:$port" >/dev/null 2>&1
    timeout 0.1 curl -s -o /dev/null --limit-rate 1000 "$(url large)"
done
check "it serves after noise, and after downloads that were broken off" \
    test "$(get "$(url hello.txt)")" = 'hello, world'
check "none of them leaves a descriptor behind" descriptors_back_to "$at_rest"

# --- Load ---------------------------------------------------------------------------------------

timeout 30 wrk -t 1 -c 32 -d 1 "$(url hello.txt)" >"$work/wrk" 2>&1
sed -n 's/^Requests/     wrk: Requests/p' "$work/wrk"
check "wrk gets whole answers" \
    eval 'grep -q "^Requests/sec" "$work/wrk" && ! grep -qE "Non-2xx|Socket errors" "$work/wrk"'
timeout 30 wrk -t 1 -c 8 -d 1 "$(url large)" >"$work/wrk" 2>&1
check "wrk gets large ones" \
    eval 'grep -q "^Requests/sec" "$work/wrk" && ! grep -qE "Non-2xx|Socket errors" "$work/wrk"'
check "load leaves no descriptor behind" descriptors_back_to "$at_rest"

# --- The end ------------------------------------------------------------------------------------

timeout 20 curl -sS --limit-rate 8M -o "$work/during" "$(url large)" &
client=$!
sleep 0.3
check "SIGTERM ends the server with exit code 0" finish_with TERM
wait "$client"
check "the download that ran was finished first" cmp "$work/during" "$root/large"
check "the server had nothing to complain of" test ! -s "$work/server.err"

start --idle-timeout 0.5
exec {silent}<>"/dev/tcp/127.0.0.1/$port"
exec {half}<>"/dev/tcp/127.0.0.1/$port"
printf 'GET / HT' >&"$half"
read -r -t 10 -u "$silent" line
check "a silent client is let go" test $? -eq 1 -a -z "$line"
read -r -t 10 -u "$half" line
check "half a request is answered with 408" test "${line%$'\r'}" = 'HTTP/1.1 408 Request Timeout'
exec {silent}>&- {half}>&-
# Its window is full at once, and it takes nothing.
exec {stuck}<>"/dev/tcp/127.0.0.1/$port"
printf 'GET /huge HTTP/1.1\r\nHost: x\r\n\r\n' >&"$stuck"
check "a client that takes nothing is let go" descriptors_back_to "$at_rest"
exec {stuck}>&-
check "SIGINT ends the server with exit code 0" finish_with INT

check "it needs an endpoint" refuses_options "$samples/file_server" --root "$root"
check "it needs a folder" refuses_options "$samples/file_server" --listen 127.0.0.1:0
check "it refuses an option that it does not know" \
    refuses_options "$samples/file_server" --listen 127.0.0.1:0 --colour
timeout 5 "$samples/file_server" --listen 127.0.0.1:0 --root "$root/nothing" 2>"$work/err" </dev/null
status=$?
check "it says that the folder is not there: $(cat "$work/err")" \
    test "$status" -eq 1 -a "$(grep -c ENOENT "$work/err")" -eq 1

finish
