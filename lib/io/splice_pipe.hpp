#pragma once

#include <gyre/net/stream.hpp>
#include <gyre/net/transfer.hpp>
#include <gyre/task/task.hpp>

#include <cstddef>

namespace gyre::inline v0::detail {

/// A pipe to splice through. It is only worth its while if it is large: with the usual 64 KiB
/// splicing costs as much as copying (measured), and a user who has many pipes gets small ones.
class splice_pipe {
public:
    static constexpr std::size_t size = std::size_t{1024} * 1024;

    /// Not open if the system gives none of that size.
    splice_pipe() noexcept;
    ~splice_pipe();
    splice_pipe(const splice_pipe&) = delete;
    splice_pipe& operator=(const splice_pipe&) = delete;

    bool is_open() const noexcept { return fds_[0] >= 0; }
    int output() const noexcept { return fds_[0]; }
    int input() const noexcept { return fds_[1]; }

private:
    void close() noexcept;
    int fds_[2] = {-1, -1};
};

/// O_NONBLOCK while it lives: a splice that would wait for a socket keeps a thread of the kernel's
/// ring from everything else, so it must not wait.
class nonblocking_meanwhile {
public:
    explicit nonblocking_meanwhile(stream& which) noexcept;
    ~nonblocking_meanwhile();
    nonblocking_meanwhile(const nonblocking_meanwhile&) = delete;
    nonblocking_meanwhile& operator=(const nonblocking_meanwhile&) = delete;

private:
    stream& stream_;
    int fd_ = -1; // That was not before.
};

/// Moves `count` bytes, which are in the pipe, on to the stream.
task<transfer> splice_out(splice_pipe& from, stream& to, std::size_t count);

} // namespace gyre::inline v0::detail
