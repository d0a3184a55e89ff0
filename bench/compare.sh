#!/usr/bin/env bash
# compare.sh BUILD_DIR [OPTION...]: TCP echo on gyre's engines, on servers written by hand and on
# other libraries. The options are those of BUILD_DIR/bench/compare; see --help and README.md.
set -euo pipefail

build=${1:?usage: compare.sh BUILD_DIR [OPTION...]}
shift
root=$(cd "$(dirname "$0")/.." && pwd)
revision=$(git -C "$root" describe --always --dirty --tags 2>/dev/null || echo unknown)
exec "$build/bench/compare" --revision "$revision" "$@"
