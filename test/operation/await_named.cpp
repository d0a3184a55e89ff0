// An operation is awaited once, so one with a name is moved from.

#include <gyre/gyre.hpp>

#include <array>
#include <cstddef>
#include <utility>

namespace {

[[maybe_unused]] gyre::task<> reader(gyre::stream& peer) {
    std::array<std::byte, 8> buffer;
    auto operation = peer.recv(buffer);
#ifdef GYRE_MUST_NOT_COMPILE
    const auto received = co_await operation;
#else
    const auto received = co_await std::move(operation);
#endif
    static_cast<void>(received);
}

} // namespace
