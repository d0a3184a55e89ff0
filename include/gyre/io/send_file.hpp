#pragma once

#include <gyre/error.hpp>
#include <gyre/io/byte_stream.hpp>
#include <gyre/net/send_all.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/net/transfer.hpp>
#include <gyre/result.hpp>
#include <gyre/task/task.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace gyre::inline v0 {

namespace detail {

inline constexpr std::size_t send_file_piece = 65536;

/// `op::read`, whose header stays out of this one.
task<result<std::size_t>> read_piece(int file, std::span<std::byte> buffer, std::uint64_t offset);

/// By reading and sending, which any stream can do.
template <byte_stream To>
task<transfer> send_file_copied(To& to, int file, std::uint64_t offset, std::uint64_t length) {
    const auto size = static_cast<std::size_t>(length < send_file_piece ? length : send_file_piece);
    const auto memory = std::make_unique_for_overwrite<std::byte[]>(size);
    std::uint64_t sent = 0;
    while (sent < length) {
        const std::uint64_t left = length - sent;
        const auto piece = std::span(memory.get(), left < size ? std::size_t(left) : size);
        const result<std::size_t> count = co_await read_piece(file, piece, offset + sent);
        if (!count) {
            co_return transfer(sent, count.error());
        }
        if (*count == 0) {
            co_return transfer(sent, make_error_code(errc::end_of_stream));
        }
        const transfer taken =
            co_await send_all(to, std::span<const std::byte>(piece.first(*count)));
        sent += taken.bytes();
        if (!taken) {
            co_return transfer(sent, taken.error());
        }
    }
    co_return transfer(sent);
}

} // namespace detail

/// Sends a part of a file.
///
/// From 256 KiB on the bytes are spliced through a pipe of 1 MiB instead of copied, where the system
/// gives one of that size: less than half of the processor time (docs/guide/buffered-io.md has the
/// numbers). Meanwhile the socket is O_NONBLOCK, which everybody sees who shares it.
///
/// \param to      the stream; it outlives the suspension.
/// \param file    the descriptor of a file, which stays the caller's; its own position neither
///                matters nor moves.
/// \param offset  of the first byte, in bytes.
/// \param length  how many bytes.
/// \return        a `transfer`: how many bytes were taken by the stream, and the error if those are
///                not all.
///
/// \par Errors        `errc::end_of_stream` the file is shorter: it was truncated meanwhile.
///                    Otherwise those of `op::read` on the file and of `send` on the stream.
/// \par Cancellation  `bytes()` is what was sent.
/// \par Concurrency   It is a send: nothing else is sent on the stream meanwhile.
/// \par Kernel        5.7. IORING_OP_SPLICE, splice(2); else IORING_OP_READ and IORING_OP_SEND.
task<transfer> send_file(stream& to, int file, std::uint64_t offset, std::uint64_t length);

/// The same for any byte stream, by reading and sending.
template <layered_stream To>
task<transfer> send_file(To& to, int file, std::uint64_t offset, std::uint64_t length) {
    return detail::send_file_copied(to, file, offset, length);
}

} // namespace gyre::inline v0
