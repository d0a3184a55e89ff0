#include "support/test.hpp"

#include <gyre/ring/engine.hpp>

#include <cstdlib>
#include <string>

#include <dirent.h>

namespace test {

const std::vector<gyre::engine_kind>& engines() {
    static const std::vector<gyre::engine_kind> chosen = [] {
        std::vector<gyre::engine_kind> all = {
            gyre::engine_kind::uring, gyre::engine_kind::epoll, gyre::engine_kind::blocking
        };
        const char* wanted = std::getenv("GYRE_TEST_ENGINE");
        if (wanted == nullptr || *wanted == '\0') {
            return all;
        }
        std::vector<gyre::engine_kind> one;
        for (const gyre::engine_kind engine : all) {
            if (std::string(gyre::engine_name(engine)) == wanted) {
                one.push_back(engine);
            }
        }
        REQUIRE_MESSAGE(!one.empty(), "GYRE_TEST_ENGINE names no engine: ", wanted);
        return one;
    }();
    return chosen;
}

gyre::task<tcp_pair> loopback_pair() {
    auto listener = gyre::listener::bind(gyre::endpoint::loopback_v4(0));
    const auto at = listener.local_endpoint();
    // The backlog completes the handshake, so connecting does not wait for the accept.
    auto client = co_await gyre::or_throw(gyre::stream::connect(at.value()));
    auto server = co_await gyre::or_throw(listener.accept());
    co_return tcp_pair(std::move(client), std::move(server));
}

std::size_t open_descriptors() {
    std::size_t count = 0;
    DIR* directory = ::opendir("/proc/self/fd");
    REQUIRE(directory != nullptr);
    while (::readdir(directory) != nullptr) {
        ++count;
    }
    ::closedir(directory);
    return count - 3; // ".", ".." and the directory's own.
}

} // namespace test
