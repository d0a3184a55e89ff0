// Two receives in flight on one stream would corrupt the order of its bytes: a broken precondition,
// in every build.

#include <gyre/gyre.hpp>

#include <array>
#include <csignal>
#include <cstddef>

#include <unistd.h>

int main() {
    std::signal(SIGABRT, [](int) { ::_exit(70); });
    return gyre::run([]() -> gyre::task<int> {
        auto pair = gyre::stream::pair();
        std::array<std::byte, 8> first;
        std::array<std::byte, 8> second;
        const auto both = co_await gyre::when_all(pair.first.recv(first), pair.first.recv(second));
        co_return std::get<0>(both) ? 0 : 1;
    });
}
