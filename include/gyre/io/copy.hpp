#pragma once

#include <gyre/io/buffered_reader.hpp>
#include <gyre/io/byte_stream.hpp>
#include <gyre/net/send_all.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/net/transfer.hpp>
#include <gyre/result.hpp>
#include <gyre/task/task.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <type_traits>

namespace gyre::inline v0 {

/// How `copy` copies.
struct copy_options {
    /// How many bytes at most.
    std::uint64_t limit = std::numeric_limits<std::uint64_t>::max();
    /// Bytes of the buffer, which is made for the time of the call.
    std::size_t buffer_size = 65536;
    /// Where to store how many bytes were taken from the source: more than were delivered if the
    /// target fails or a cancel comes between, and the difference is lost. It outlives the call.
    std::uint64_t* received = nullptr;
    /// Between two `stream`s: splice through a pipe of 1 MiB instead of copying, where the system
    /// gives one. For bulk; see `copy`.
    ///
    /// Not by default, since `copy` cannot know what will come. 64 MiB over loopback took, of
    /// processor time on the kernel's ring, 17 to 26 ms spliced and 31 to 52 ms copied when they
    /// came in pieces of 256 KiB, but 53 to 61 ms spliced and 28 to 34 ms copied in pieces of 1 KiB.
    /// It also is not the same to others: who shares a socket sees it O_NONBLOCK, and what an error
    /// or a cancel loses on the way is up to 1 MiB instead of `buffer_size`.
    bool splice = false;
};
static_assert(std::is_trivially_destructible_v<copy_options>);

/// Copies what comes from `from` to `to`, until the end of `from` or the limit. Ends no side: who
/// wants the other one to see the end calls `to.shutdown(shutdown_side::send)`.
///
/// It receives and sends, each piece after the other. With `options.splice` the bytes stay in the
/// kernel, for two descriptors and the memory of a pipe: a fifth to two fifths less processor time
/// in bulk, and on the kernel's ring twice as much for small messages (docs/guide/buffered-io.md has
/// the numbers). Meanwhile both sockets are O_NONBLOCK, which everybody sees who shares them.
///
/// \param from, to  the streams; they outlive the suspension.
/// \param options   the limit, the buffer.
/// \return          a `transfer`: how many bytes `to` has taken, and the error if it ended early.
///
/// \par Errors        Those of `recv` on `from` and of `send` on `to`; `EBADF` if one of them is
///                    closed between two pieces.
/// \par Cancellation  `bytes()` is what was delivered. What had been received and not delivered is
///                    lost; `options.received` tells, and the form with a reader keeps it.
/// \par Concurrency   A receive on `from` and a send on `to`. Both directions of two streams may be
///                    copied at the same time.
task<transfer> copy(stream& from, stream& to, copy_options options = {});

namespace detail {

template <byte_stream From, byte_stream To>
task<transfer> copy_by_buffer(From& from, To& to, copy_options options) {
    const auto memory = std::make_unique_for_overwrite<std::byte[]>(options.buffer_size);
    std::uint64_t received = 0;
    if (options.received == nullptr) {
        options.received = &received;
    }
    *options.received = 0;
    std::uint64_t delivered = 0;
    while (delivered < options.limit) {
        const std::uint64_t left = options.limit - delivered;
        const std::size_t size =
            left < options.buffer_size ? static_cast<std::size_t>(left) : options.buffer_size;
        const result<std::size_t> count = co_await from.recv(std::span(memory.get(), size));
        if (!count) {
            co_return transfer(delivered, count.error());
        }
        if (*count == 0) {
            break;
        }
        *options.received += *count;
        const transfer sent =
            co_await send_all(to, std::span<const std::byte>(memory.get(), *count));
        delivered += sent.bytes();
        if (!sent) {
            co_return transfer(delivered, sent.error());
        }
    }
    co_return transfer(delivered);
}

} // namespace detail

/// The same for any byte streams; `splice` has no meaning here.
template <byte_stream From, byte_stream To>
    requires(layered_stream<From> || layered_stream<To>)
task<transfer> copy(From& from, To& to, copy_options options = {}) {
    return detail::copy_by_buffer(from, to, options);
}

/// The same from a reader, beginning with what it has buffered. Nothing is lost: what was not
/// delivered stays in the reader. Only `limit` has a meaning here.
template <byte_stream From, byte_stream To>
task<transfer> copy(buffered_reader<From>& from, To& to, copy_options options = {}) {
    std::uint64_t delivered = 0;
    while (delivered < options.limit) {
        if (from.buffered().empty()) {
            const auto more = co_await from.peek(1);
            if (!more) {
                if (more.error() == errc::end_of_stream) {
                    break;
                }
                co_return transfer(delivered, more.error());
            }
        }
        const std::uint64_t left = options.limit - delivered;
        auto bytes = from.buffered();
        bytes = bytes.first(left < bytes.size() ? static_cast<std::size_t>(left) : bytes.size());
        const transfer sent = co_await send_all(to, bytes);
        from.consume(sent.bytes());
        delivered += sent.bytes();
        if (!sent) {
            co_return transfer(delivered, sent.error());
        }
    }
    co_return transfer(delivered);
}

} // namespace gyre::inline v0
