#pragma once

#include <gyre/error.hpp>
#include <gyre/net/recv_exactly.hpp>
#include <gyre/net/send_all.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/net/transfer.hpp>
#include <gyre/result.hpp>
#include <gyre/task/awaitable.hpp>
#include <gyre/task/task.hpp>

#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>

namespace gyre::inline v0 {

/// Something that a task awaits for a `T`.
template <class Operation, class T>
concept awaitable_for =
    awaitable<Operation> &&
    std::same_as<typename std::remove_cvref_t<Operation>::awaiter::result_type, T>;

/// A connected stream of bytes, whatever carries it: `stream` is one, and what is layered on it.
///
/// - `recv(buffer)` waits for at least one byte and yields how many came, 0 at the end;
/// - `send(bytes)` waits until at least one byte is taken and yields how many were;
/// - `shutdown(side)` ends a direction, at once or by being awaited.
///
/// One receive and one send may be in flight at the same time. A canceled one has either moved
/// bytes, and says how many, or none.
template <class T>
concept byte_stream = requires(
    T& made, std::span<std::byte> buffer, std::span<const std::byte> bytes, shutdown_side side
) {
    { made.recv(buffer) } -> awaitable_for<result<std::size_t>>;
    { made.send(bytes) } -> awaitable_for<result<std::size_t>>;
    made.shutdown(side);
    requires std::same_as<decltype(made.shutdown(side)), result<void>> ||
                 awaitable_for<decltype(made.shutdown(side)), result<void>>;
};
static_assert(byte_stream<stream>);

/// A byte stream that has no operation of its own for what `send_all` and `recv_exactly` do.
template <class T>
concept layered_stream = byte_stream<T> && !std::convertible_to<T&, stream&>;

/// `send_all` for any byte stream; it takes a coroutine, which that of a `stream` does not.
template <layered_stream Stream>
task<transfer> send_all(Stream& to, std::span<const std::byte> bytes) {
    std::size_t sent = 0;
    while (sent < bytes.size()) {
        const result<std::size_t> taken = co_await to.send(bytes.subspan(sent));
        if (!taken) {
            co_return transfer(sent, taken.error());
        }
        sent += *taken;
    }
    co_return transfer(sent);
}

/// `recv_exactly` for any byte stream; it takes a coroutine, which that of a `stream` does not.
template <layered_stream Stream>
task<transfer> recv_exactly(Stream& from, std::span<std::byte> buffer) {
    std::size_t received = 0;
    while (received < buffer.size()) {
        const result<std::size_t> count = co_await from.recv(buffer.subspan(received));
        if (!count) {
            co_return transfer(received, count.error());
        }
        if (*count == 0) {
            co_return transfer(received, make_error_code(errc::end_of_stream));
        }
        received += *count;
    }
    co_return transfer(received);
}

} // namespace gyre::inline v0
