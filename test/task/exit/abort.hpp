#pragma once

// How programs that must terminate end: ctest does not take an abort for an expected failure, so
// SIGABRT becomes an exit code, after the message is out.

#include <csignal>

#include <unistd.h>

namespace test {

constexpr int exit_aborted = 3;

inline void exit_on_abort() {
    std::signal(SIGABRT, [](int) { _exit(exit_aborted); });
}

} // namespace test
