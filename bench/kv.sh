#!/usr/bin/env bash
# kv.sh BUILD_DIR [OPTION...]: kv_server beside redis-server. The options are those of
# BUILD_DIR/bench/kv; see --help and README.md.
set -euo pipefail

build=${1:?usage: kv.sh BUILD_DIR [OPTION...]}
shift
root=$(cd "$(dirname "$0")/.." && pwd)
revision=$(git -C "$root" describe --always --dirty --tags 2>/dev/null || echo unknown)
exec "$build/bench/kv" --revision "$revision" "$@"
