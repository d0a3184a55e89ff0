# Sourced by run and full: runs jobs one after another and remembers how each ended.

set -uo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." || exit 1
mkdir -p build/ci
if command -v ccache >/dev/null; then
    export CMAKE_CXX_COMPILER_LAUNCHER=ccache
    # What several folders compile alike is compiled once.
    export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
fi

summary=()
passed=0
failed=0

# job NAME SECONDS COMMAND...: a job that fails or takes longer does not stop those after it.
job() {
    local name=$1 limit=$2 start=$SECONDS outcome
    printf '\n======== %s: %s\n' "$name" "${*:3}"
    if timeout --kill-after=10 "$limit" "${@:3}" </dev/null 2>&1 | tee "build/ci/${name//\//_}.log"; then
        outcome=passed
        passed=$((passed + 1))
    else
        outcome=FAILED
        failed=$((failed + 1))
    fi
    summary+=("$(printf '%-36s %-7s %5d s' "$name" "$outcome" $((SECONDS - start)))")
}

# Ends the script; the last line it prints is "N passed, N failed".
finish() {
    printf '\n======== summary (logs are in build/ci)\n'
    printf '%s\n' "${summary[@]}"
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}
