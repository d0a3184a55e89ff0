#!/usr/bin/env bash
# demo.sh BUILD_DIR: serves echo on each engine for some seconds and prints what a request costs.
# Run: ./dev demo. Needs: BUILD_DIR/samples/echo_server and BUILD_DIR/samples/load.
set -euo pipefail

engines=${GYRE_DEMO_ENGINES:-uring epoll blocking}
connections=64
size=64
seconds=${GYRE_DEMO_SECONDS:-3}

build=${1:?usage: demo.sh BUILD_DIR}
work=$(mktemp -d)
server=

clean_up() {
    if [ -n "$server" ]; then
        kill -KILL "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The server on the first processor this shell may use, the load on the second; with one processor,
# or without taskset, wherever the system puts them.
on_server=()
on_load=()
if command -v taskset >/dev/null && [ "$(nproc)" -gt 1 ]; then
    allowed=$(taskset -cp $$ | sed 's/.*: *//' | tr ',' '\n' |
        awk -F- '{ for (cpu = $1; cpu <= ($2 == "" ? $1 : $2); ++cpu) print cpu }' | head -n 2)
    on_server=(taskset -c "$(head -n 1 <<<"$allowed")")
    on_load=(taskset -c "$(tail -n 1 <<<"$allowed")")
fi

# Nanoseconds that all threads of a process have run.
cpu_of() {
    if [ -r "/proc/$1/schedstat" ]; then
        cat "/proc/$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
    else
        awk -v tick="$(getconf CLK_TCK)" \
            '{ sub(/.*\) /, ""); printf "%.0f\n", ($12 + $13) * 1e9 / tick }' "/proc/$1/stat"
    fi
}

# The number behind a name in the line of JSON that load prints.
field() {
    sed -n "s/.*\"$1\": *\([0-9.eE+-]*\).*/\1/p" "$work/load"
}

# Fails if the server does not offer this engine; why is in $work/errors.
start_server() {
    : >"$work/server" # it may be looked into before the server has opened it
    "${on_server[@]}" "$build/samples/echo_server" --listen 127.0.0.1:0 --engine "$1" \
        >"$work/server" 2>"$work/errors" &
    server=$!
    endpoint=
    for _ in $(seq 100); do
        endpoint=$(sed -n 's/^listening on //p' "$work/server")
        if [ -n "$endpoint" ]; then
            return
        fi
        kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    local code=0
    if ! kill -0 "$server" 2>/dev/null; then
        wait "$server" || code=$?
        server=
    fi
    if [ "$code" -eq 2 ]; then
        return 1
    fi
    echo "demo: echo_server --engine $1 does not listen: $(head -n 1 "$work/errors")" >&2
    exit 1
}

stop_server() {
    kill -TERM "$server"
    local code=0
    wait "$server" || code=$?
    server=
    cat "$work/errors" >&2
    if [ "$code" -ne 0 ]; then
        echo "demo: echo_server ended with exit code $code" >&2
        exit 1
    fi
}

drive() {
    "${on_load[@]}" "$build/samples/load" --connect "$endpoint" --connections "$connections" \
        --size "$size" --pipeline 1 --duration "$1" --json >"$work/load"
}

processor=$(sed -n '/^model name/{s/[^:]*: *//p;q;}' /proc/cpuinfo)
echo "gyre echo: $size bytes, $connections connections, $seconds s for each engine"
echo "${processor:-$(uname -m)}, $(nproc) processors, $(uname -sr)," \
    "load average $(cut -d ' ' -f 1 /proc/loadavg)"
if [ ${#on_server[@]} -eq 0 ]; then
    echo "server and load share the processors; the figures of one depend on the other"
fi
echo
row='%-10s %12s %8s %10s %10s %22s\n'
# shellcheck disable=SC2059 # the format is the row's
printf "$row" engine requests/s MB/s 'p50 us' 'p99 us' 'server CPU us/request'

for engine in $engines; do
    if ! start_server "$engine"; then
        printf '%-10s skipped: %s\n' "$engine" "$(head -n 1 "$work/errors")"
        continue
    fi
    drive 0.3 # so that neither first connections nor first page faults are measured
    before=$(cpu_of "$server")
    drive "$seconds"
    after=$(cpu_of "$server")
    stop_server
    requests=$(field requests)
    # shellcheck disable=SC2059
    printf "$row" "$engine" \
        "$(awk -v n="$requests" -v s="$(field seconds)" 'BEGIN { printf "%.0f", n / s }')" \
        "$(awk -v n="$requests" -v s="$(field seconds)" -v b="$size" \
            'BEGIN { printf "%.2f", n * b / s / 1e6 }')" \
        "$(field p50_us)" "$(field p99_us)" \
        "$(awk -v a="$after" -v b="$before" -v n="$requests" \
            'BEGIN { printf "%.2f", (a - b) / n / 1e3 }')"
done
