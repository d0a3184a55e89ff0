#include "io/splice_pipe.hpp"

#include <gyre/error.hpp>
#include <gyre/net/send_all.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/net/transfer.hpp>
#include <gyre/op/descriptor.hpp>
#include <gyre/task/task.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <span>

#include <fcntl.h>
#include <unistd.h>

namespace gyre::inline v0::detail {

namespace {

// What is copied while there is no room to splice into.
constexpr std::size_t waiting_size = 16384;

} // namespace

splice_pipe::splice_pipe() noexcept {
    if (::pipe2(fds_, O_CLOEXEC) == 0 &&
        ::fcntl(fds_[0], F_SETPIPE_SZ, static_cast<int>(size)) < static_cast<int>(size)) {
        close();
    }
}

splice_pipe::~splice_pipe() {
    close();
}

void splice_pipe::close() noexcept {
    for (int& fd : fds_) {
        if (fd >= 0) {
            op::forget(fd);
            ::close(fd);
            fd = -1;
        }
    }
}

nonblocking_meanwhile::nonblocking_meanwhile(stream& which) noexcept : stream_(which) {
    const int fd = which.native_handle();
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_NONBLOCK) == 0 && ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0) {
        fd_ = fd;
    }
}

nonblocking_meanwhile::~nonblocking_meanwhile() {
    // Closed meanwhile, its number may name something else.
    if (fd_ >= 0 && stream_.native_handle() == fd_) {
        const int flags = ::fcntl(fd_, F_GETFL);
        if (flags >= 0) {
            ::fcntl(fd_, F_SETFL, flags & ~O_NONBLOCK);
        }
    }
}

task<transfer> splice_out(splice_pipe& from, stream& to, std::size_t count) {
    std::unique_ptr<std::byte[]> memory;
    std::size_t moved = 0;
    while (moved < count) {
        // Each time anew: somebody may have closed the stream while this waited.
        const int fd = to.native_handle();
        if (fd < 0) {
            co_return transfer(moved, errno_code(EBADF));
        }
        const auto taken = co_await op::splice(from.output(), fd, count - moved);
        if (taken) {
            moved += *taken;
            continue;
        }
        if (taken.error() != errno_code(EAGAIN)) {
            co_return transfer(moved, taken.error());
        }
        // No room. The stream's own send waits for it, which a close of the stream ends.
        if (!memory) {
            memory = std::make_unique_for_overwrite<std::byte[]>(waiting_size);
        }
        const auto piece = std::span(memory.get(), std::min(waiting_size, count - moved));
        const auto read = co_await op::read(from.output(), piece);
        if (!read) {
            co_return transfer(moved, read.error());
        }
        const transfer sent = co_await send_all(to, piece.first(*read));
        moved += sent.bytes();
        if (!sent) {
            co_return transfer(moved, sent.error());
        }
    }
    co_return transfer(moved);
}

} // namespace gyre::inline v0::detail
