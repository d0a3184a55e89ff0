// Where a benchmark finds the programs it starts, and which processors they run on.
#pragma once

#include <sched.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <optional>
#include <string>

namespace bench {

/// The folder of this program, with a slash at its end: the build puts the others beside it.
inline std::string own_folder() {
    std::array<char, 4096> path = {};
    ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
    std::string whole(path.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
    return whole.substr(0, whole.rfind('/') + 1);
}

struct processors {
    std::optional<int> server;
    std::optional<int> load;
};

/// The first two that this process may use; none where there is only one.
inline processors first_processors() {
    processors found;
    cpu_set_t allowed;
    if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2) {
        return found;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE && !found.load; ++cpu) {
        if (CPU_ISSET(static_cast<unsigned>(cpu), &allowed)) {
            (found.server ? found.load : found.server) = cpu;
        }
    }
    return found;
}

} // namespace bench
