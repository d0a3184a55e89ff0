#include <gyre/io/copy.hpp>

#include "io/splice_pipe.hpp"

#include <gyre/error.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/net/transfer.hpp>
#include <gyre/op/descriptor.hpp>
#include <gyre/task/task.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

#include <sys/socket.h>

namespace gyre::inline v0 {

namespace {

task<transfer>
copy_spliced(detail::splice_pipe& by, stream& from, stream& to, const copy_options& options) {
    const detail::nonblocking_meanwhile source(from);
    const detail::nonblocking_meanwhile target(to);
    std::uint64_t delivered = 0;
    while (delivered < options.limit) {
        // Waits with the stream's own receive, which a close of the stream ends.
        std::byte first;
        const auto ready = co_await from.recv(std::span(&first, 1), MSG_PEEK);
        if (!ready) {
            co_return transfer(delivered, ready.error());
        }
        if (*ready == 0) {
            break;
        }
        const int fd = from.native_handle();
        if (fd < 0) {
            co_return transfer(delivered, errno_code(EBADF));
        }
        const auto size = static_cast<std::size_t>(
            std::min<std::uint64_t>(options.limit - delivered, detail::splice_pipe::size)
        );
        const auto taken = co_await op::splice(fd, by.input(), size);
        if (!taken && taken.error() == errno_code(EAGAIN)) {
            continue;
        }
        if (!taken) {
            co_return transfer(delivered, taken.error());
        }
        if (*taken == 0) {
            break;
        }
        *options.received += *taken;
        const transfer moved = co_await detail::splice_out(by, to, *taken);
        delivered += moved.bytes();
        if (!moved) {
            co_return transfer(delivered, moved.error());
        }
    }
    co_return transfer(delivered);
}

} // namespace

task<transfer> copy(stream& from, stream& to, copy_options options) {
    std::uint64_t received = 0;
    if (options.received == nullptr) {
        options.received = &received;
    }
    *options.received = 0;
    if (options.splice && from.is_open() && to.is_open()) {
        detail::splice_pipe pipe;
        if (pipe.is_open()) {
            const transfer spliced = co_await copy_spliced(pipe, from, to, options);
            if (*options.received != 0 || spliced.error() != errno_code(EINVAL)) {
                co_return spliced;
            }
        }
    }
    const transfer copied = co_await detail::copy_by_buffer(from, to, options);
    co_return copied;
}

} // namespace gyre::inline v0
