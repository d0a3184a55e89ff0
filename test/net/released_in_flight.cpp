// A number that is given away while an operation works on it: a broken precondition, in every build.

#include <gyre/gyre.hpp>

#include <array>
#include <csignal>
#include <cstddef>

#include <unistd.h>

int main() {
    std::signal(SIGABRT, [](int) { ::_exit(70); });
    return gyre::run([]() -> gyre::task<int> {
        auto pair = gyre::stream::pair();
        std::array<std::byte, 8> buffer;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto received = co_await pair.first.recv(buffer);
                static_cast<void>(received);
            });
            co_await gyre::yield();
            pair.first.release();
        };
        co_await gyre::with_scope(body);
        co_return 0;
    });
}
