// Two sends in flight on one stream would mix their bytes: a broken precondition, in every build.

#include <gyre/gyre.hpp>

#include <csignal>
#include <cstddef>
#include <span>
#include <vector>

#include <unistd.h>

int main() {
    std::signal(SIGABRT, [](int) { ::_exit(70); });
    return gyre::run([]() -> gyre::task<int> {
        auto pair = gyre::stream::pair();
        const std::vector<std::byte> large(std::size_t{8} << 20);
        const auto both = co_await gyre::when_all(
            gyre::send_all(pair.first, large), pair.first.send(std::span(large).first(1))
        );
        co_return std::get<1>(both) ? 0 : 1;
    });
}
