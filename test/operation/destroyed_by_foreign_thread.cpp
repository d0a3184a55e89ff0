// An operation in flight belongs to the thread of its scheduler: destroying it elsewhere is a
// broken precondition, in every build.

#include <gyre/gyre.hpp>
#include <gyre/operation/operation.hpp>
#include <gyre/operation/recv.hpp>
#include <gyre/scheduler/waiter.hpp>

#include <array>
#include <csignal>
#include <cstddef>
#include <memory>
#include <thread>

#include <unistd.h>

namespace {

struct nobody final : gyre::detail::waiter {
    nobody() noexcept : waiter([](waiter&) noexcept {}) {}
};

} // namespace

int main() {
    std::signal(SIGABRT, [](int) { ::_exit(70); });
    gyre::scheduler on;
    auto pair = gyre::stream::pair();
    std::array<std::byte, 8> buffer;
    gyre::detail::stop_state stop;
    nobody told;
    auto description = pair.first.recv(buffer);
    auto operation =
        std::make_unique<gyre::detail::operation_awaiter<gyre::recv_operation>>(description);
    operation->start({&gyre::detail::loop_of(on), &stop, nullptr}, told);
    on.turn();
    std::thread([&] { operation.reset(); }).join();
    return 0;
}
