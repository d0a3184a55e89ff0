# Sourced by scripts that check programs; not run. Sets `work`, a folder for whoever sources it to take
# away at the end.

work=$(mktemp -d)
passed=0
failed=0

ok() {
    echo "ok: $*"
    passed=$((passed + 1))
}

fail() {
    echo "FAIL: $*"
    failed=$((failed + 1))
}

# check TEXT COMMAND...: the command says whether it holds.
check() {
    if "${@:2}"; then ok "$1"; else fail "$1"; fi
}

# Ends the script.
finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}
