#!/usr/bin/env bash
# ipc.sh BUILD_DIR [OPTION...]: Unix sockets, loopback TCP and pipes between two processes, on gyre
# and by plain calls. The options are those of BUILD_DIR/bench/ipc; see --help and README.md.
set -euo pipefail

build=${1:?usage: ipc.sh BUILD_DIR [OPTION...]}
shift
root=$(cd "$(dirname "$0")/.." && pwd)
revision=$(git -C "$root" describe --always --dirty --tags 2>/dev/null || echo unknown)
exec "$build/bench/ipc" --revision "$revision" "$@"
