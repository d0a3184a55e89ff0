#pragma once

// Filters of system calls, for a process that was forked for it: they cannot be taken off again.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <vector>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace test {

inline void filter_calls(const std::vector<long>& numbers, std::uint32_t action) {
    const auto statement = [](std::size_t code, std::size_t value) {
        return sock_filter{
            static_cast<std::uint16_t>(code), 0, 0, static_cast<std::uint32_t>(value)
        };
    };
    std::vector<sock_filter> program;
    program.push_back(statement(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
    for (const long number : numbers) {
        sock_filter equal = statement(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::size_t>(number));
        equal.jf = 1;
        program.push_back(equal);
        program.push_back(statement(BPF_RET | BPF_K, action));
    }
    program.push_back(statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    const sock_fprog whole = {static_cast<unsigned short>(program.size()), program.data()};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole) != 0) {
        std::perror("seccomp");
        ::_exit(3);
    }
}

/// From now on these calls answer with `error`.
inline void refuse_calls(const std::vector<long>& numbers, int error) {
    filter_calls(numbers, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error));
}

/// From now on these calls end the process.
inline void kill_on_calls(const std::vector<long>& numbers) {
    filter_calls(numbers, SECCOMP_RET_KILL_PROCESS);
}

} // namespace test
