#include <gyre/io/send_file.hpp>

#include "io/splice_pipe.hpp"

#include <gyre/error.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/net/transfer.hpp>
#include <gyre/op/descriptor.hpp>
#include <gyre/result.hpp>
#include <gyre/task/task.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

namespace gyre::inline v0 {

namespace detail {

namespace {

// Below that a pipe costs more than it saves.
constexpr std::uint64_t splice_min = std::uint64_t{256} * 1024;

task<transfer> send_file_spliced(
    splice_pipe& by, stream& to, int file, std::uint64_t offset, std::uint64_t length
) {
    const nonblocking_meanwhile guard(to);
    std::uint64_t sent = 0;
    while (sent < length) {
        const auto size =
            static_cast<std::size_t>(std::min<std::uint64_t>(length - sent, splice_pipe::size));
        const auto read =
            co_await op::splice(file, by.input(), size, {.from_offset = offset + sent});
        if (!read) {
            co_return transfer(sent, read.error());
        }
        if (*read == 0) {
            co_return transfer(sent, make_error_code(errc::end_of_stream));
        }
        const transfer moved = co_await splice_out(by, to, *read);
        sent += moved.bytes();
        if (!moved) {
            co_return transfer(sent, moved.error());
        }
    }
    co_return transfer(sent);
}

} // namespace

task<result<std::size_t>> read_piece(int file, std::span<std::byte> buffer, std::uint64_t offset) {
    const result<std::size_t> count = co_await op::read(file, buffer, offset);
    co_return count;
}

} // namespace detail

task<transfer> send_file(stream& to, int file, std::uint64_t offset, std::uint64_t length) {
    if (length >= detail::splice_min && to.is_open()) {
        detail::splice_pipe pipe;
        if (pipe.is_open()) {
            const transfer spliced =
                co_await detail::send_file_spliced(pipe, to, file, offset, length);
            if (spliced.bytes() != 0 || spliced.error() != errno_code(EINVAL)) {
                co_return spliced;
            }
            // Its file system does not splice.
        }
    }
    const transfer copied = co_await detail::send_file_copied(to, file, offset, length);
    co_return copied;
}

} // namespace gyre::inline v0
