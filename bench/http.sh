#!/usr/bin/env bash
# http.sh BUILD_DIR [OPTION...]: http_hello beside nginx. The options are those of
# BUILD_DIR/bench/http; see --help and README.md.
set -euo pipefail

build=${1:?usage: http.sh BUILD_DIR [OPTION...]}
shift
root=$(cd "$(dirname "$0")/.." && pwd)
revision=$(git -C "$root" describe --always --dirty --tags 2>/dev/null || echo unknown)
exec "$build/bench/http" --revision "$revision" "$@"
