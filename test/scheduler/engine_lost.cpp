// An engine that cannot be entered any more ends the program with its reason, also when the
// submission queue is full and cancels wait for room in it.

#include "support/scripted_engine.hpp"

#include <gyre/gyre.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/scheduler/run_loop.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <memory>
#include <utility>

#include <unistd.h>

int main() {
    std::signal(SIGABRT, [](int) { ::_exit(70); });
    auto made = std::make_unique<test::scripted_engine>(2, 8);
    test::scripted_engine& engine = *made;
    gyre::detail::run_loop loop(std::move(made));

    std::array<gyre::detail::socket_state, 6> sockets{};
    std::array<std::byte, 8> buffer{};
    gyre::detail::spawn_into(gyre::detail::root_of(loop), [&]() -> gyre::task<> {
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            for (gyre::detail::socket_state& socket : sockets) {
                scope.spawn([&]() -> gyre::task<> {
                    const auto received = co_await gyre::recv_operation(socket, buffer, 0);
                    static_cast<void>(received);
                });
            }
            for (int turn = 0; turn < 4; ++turn) {
                co_await gyre::yield();
            }
            scope.cancel();
            for (int count = 0; count < 1000; ++count) {
                engine.answers.push_back(-EPERM);
            }
        };
        co_await gyre::with_scope(body);
    });
    for (int turn = 0; turn < 20; ++turn) {
        loop.step(false);
    }
}
