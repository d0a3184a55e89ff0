#!/usr/bin/env bash
# Usage: test/consumer/run.sh DIRECTORY [CMAKE_OPTION ...]
#
# Builds consumer.cpp against gyre through find_package, add_subdirectory and pkg-config, each with
# -Wall -Wextra -Werror, and runs it. Everything is built in DIRECTORY/consumer-work, from nothing.
# Options are passed on to the build of gyre, for example -DBUILD_SHARED_LIBS=ON.
set -euo pipefail

here=$(cd -- "$(dirname -- "$0")" && pwd)
root=$(cd -- "$here/../.." && pwd)
[ $# -ge 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$1"
work=$(cd -- "$1" && pwd)/consumer-work
options=("${@:2}")
rm -rf "$work"

say() { printf '\n== consumer: %s\n' "$1"; }

# The consumer asked for three warning flags of its own; any other came from gyre.
no_leaked_flags() {
    if tr ' ' '\n' <<<"$1" | grep -E '^-(W|f|O|D)' |
        grep -vxE -e '-W(all|extra|error)|-D(FMT_SHARED|_GNU_SOURCE|_LARGEFILE_SOURCE|_FILE_OFFSET_BITS=64)'; then
        echo "consumer: these flags leaked out of gyre" >&2
        return 1
    fi
}
no_leaked_flags_in() {
    no_leaked_flags "$(grep -h '"command":.*consumer\.cpp' "$1/compile_commands.json")"
}

say "gyre is installed, and the installed tree is moved"
cmake -S "$root" -B "$work/gyre" -G Ninja -DGYRE_BUILD_TESTS=OFF -DGYRE_BUILD_SAMPLES=OFF \
    -DCMAKE_INSTALL_PREFIX="$work/first-place" -DCMAKE_INSTALL_LIBDIR=lib "${options[@]}"
cmake --build "$work/gyre"
cmake --install "$work/gyre" >"$work/installed.txt"
prefix=$work/prefix
mv "$work/first-place" "$prefix"
export LD_LIBRARY_PATH=$prefix/lib # only a shared gyre needs it

say "find_package"
cmake -S "$here" -B "$work/find_package" -G Ninja -DCMAKE_BUILD_TYPE= \
    -DCMAKE_PREFIX_PATH="$prefix"
cmake --build "$work/find_package"
"$work/find_package/consumer"
no_leaked_flags_in "$work/find_package"

say "add_subdirectory"
cmake -S "$here" -B "$work/add_subdirectory" -G Ninja -DCMAKE_BUILD_TYPE= \
    -DGYRE_SOURCE_DIR="$root" "${options[@]}"
cmake --build "$work/add_subdirectory"
"$work/add_subdirectory/consumer"
no_leaked_flags_in "$work/add_subdirectory"

say "pkg-config"
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
flags=$(pkg-config --cflags --libs gyre)
echo "$flags"
read -ra flags_array <<<"$flags"
mkdir "$work/pkg-config"
"${CXX:-g++}" -std=c++20 -Wall -Wextra -Werror "$here/consumer.cpp" \
    -o "$work/pkg-config/consumer" "${flags_array[@]}"
"$work/pkg-config/consumer"
no_leaked_flags "$flags"

say "all three work"
