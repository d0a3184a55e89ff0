#!/usr/bin/env bash
# echo.sh BUILD_DIR [OPTION...]: what gyre costs over liburing written by hand, and what its echo
# sample costs to compile. The options are those of BUILD_DIR/bench/echo; see --help and README.md.
set -euo pipefail

build=${1:?usage: echo.sh BUILD_DIR [OPTION...]}
shift
root=$(cd "$(dirname "$0")/.." && pwd)

# Generated headers, if there are any, stand below the build folder.
flags="-std=c++20 -O2 -I$root/include -I$root/samples -I$build/include"
if pkg-config --exists liburing; then
    flags+=" $(pkg-config --cflags liburing)"
fi
exec "$build/bench/echo" \
    --compile "${CXX:-g++} $flags -c $root/samples/echo_server.cpp -o /dev/null" "$@"
