// An operation that nobody awaits never begins, so the compiler warns of it.

#include <gyre/gyre.hpp>

#include <array>
#include <cstddef>

namespace {

[[maybe_unused]] gyre::task<> reader(gyre::stream& peer) {
    std::array<std::byte, 8> buffer;
#ifdef GYRE_MUST_NOT_COMPILE
    peer.recv(buffer);
#endif
    const auto received = co_await peer.recv(buffer);
    static_cast<void>(received);
}

} // namespace
