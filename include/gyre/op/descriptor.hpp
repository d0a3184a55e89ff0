#pragma once

#include <gyre/op/raw_operation.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/operation/operation.hpp>

#include <climits>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

/// The raw layer: one awaitable per opcode on a plain descriptor, for what gyre has no noun for.
///
/// The descriptor stays the caller's, who keeps it open until the task resumes and closes it with
/// `op::close`, or by hand after `op::forget`. Memory that an argument names lives until the task
/// resumes, unless it says otherwise. Errors are those of the man page; a canceled operation that
/// has done nothing yields `ECANCELED`. Who shares a direction of a stream socket between two
/// operations gets its bytes in any order: the raw layer does not look.
namespace gyre::inline v0::op {

/// As an offset: the file's own position, which moves. The only one that pipes have.
inline constexpr std::uint64_t own_position = ~std::uint64_t{0};

/// What `read` returns.
class [[nodiscard("co_await the operation")]] read_operation
    : public detail::raw_operation<detail::uapi::op_read, std::size_t> {
public:
    using awaiter = detail::operation_awaiter<read_operation>;
    read_operation(int fd, std::span<std::byte> buffer, std::uint64_t offset) noexcept
        : raw_operation(
              {.fd = fd,
               .length = detail::clamp_length(buffer.size()),
               .address = detail::address_of(buffer.data()),
               .offset = offset}
          ) {}

private:
    friend awaiter;
    static constexpr const char* name = "read";
};

/// What `write` returns.
class [[nodiscard("co_await the operation")]] write_operation
    : public detail::raw_operation<detail::uapi::op_write, std::size_t> {
public:
    using awaiter = detail::operation_awaiter<write_operation>;
    write_operation(int fd, std::span<const std::byte> buffer, std::uint64_t offset) noexcept
        : raw_operation(
              {.fd = fd,
               .length = detail::clamp_length(buffer.size()),
               .address = detail::address_of(buffer.data()),
               .offset = offset}
          ) {}

private:
    friend awaiter;
    static constexpr const char* name = "write";
};

/// What `readv` returns.
class [[nodiscard("co_await the operation")]] readv_operation
    : public detail::raw_operation<detail::uapi::op_readv, std::size_t> {
public:
    using awaiter = detail::operation_awaiter<readv_operation>;
    readv_operation(int fd, std::span<const mutable_buffer> buffers, std::uint64_t offset) noexcept
        : raw_operation(
              {.fd = fd,
               .length = detail::clamp_length(buffers.size()),
               .address = detail::address_of(buffers.data()),
               .offset = offset}
          ) {}

private:
    friend awaiter;
    static constexpr const char* name = "readv";
};

/// What `writev` returns.
class [[nodiscard("co_await the operation")]] writev_operation
    : public detail::raw_operation<detail::uapi::op_writev, std::size_t> {
public:
    using awaiter = detail::operation_awaiter<writev_operation>;
    writev_operation(int fd, std::span<const const_buffer> buffers, std::uint64_t offset) noexcept
        : raw_operation(
              {.fd = fd,
               .length = detail::clamp_length(buffers.size()),
               .address = detail::address_of(buffers.data()),
               .offset = offset}
          ) {}

private:
    friend awaiter;
    static constexpr const char* name = "writev";
};

/// What `poll` returns.
class [[nodiscard("co_await the operation")]] poll_operation
    : public detail::raw_operation<detail::uapi::op_poll_add, int> {
public:
    using awaiter = detail::operation_awaiter<poll_operation>;
    poll_operation(int fd, int events) noexcept
        : raw_operation({.fd = fd, .flags = static_cast<std::uint32_t>(events)}) {}

private:
    friend awaiter;
    static constexpr const char* name = "poll";
};

/// How `splice` moves.
struct splice_options {
    std::uint64_t from_offset = own_position; ///< Not for a pipe.
    std::uint64_t to_offset = own_position;   ///< Not for a pipe.
    unsigned flags = 0;                       ///< SPLICE_F_ values.
};
static_assert(std::is_trivially_destructible_v<splice_options>);

/// What `splice` returns.
class [[nodiscard("co_await the operation")]] splice_operation
    : public detail::raw_operation<detail::uapi::op_splice, std::size_t> {
public:
    using awaiter = detail::operation_awaiter<splice_operation>;
    splice_operation(int from, int to, std::size_t size, const splice_options& options) noexcept
        : raw_operation(
              {.fd = to,
               .length = detail::clamp_length(size),
               .address = options.from_offset,
               .offset = options.to_offset,
               .flags = options.flags,
               .file_index = static_cast<std::uint32_t>(from)}
          ) {}

private:
    friend awaiter;
    static constexpr const char* name = "splice";
};

/// What `tee` returns.
class [[nodiscard("co_await the operation")]] tee_operation
    : public detail::raw_operation<detail::uapi::op_tee, std::size_t> {
public:
    using awaiter = detail::operation_awaiter<tee_operation>;
    tee_operation(int from, int to, std::size_t size, unsigned flags) noexcept
        : raw_operation(
              {.fd = to,
               .length = detail::clamp_length(size),
               .flags = flags,
               .file_index = static_cast<std::uint32_t>(from)}
          ) {}

private:
    friend awaiter;
    static constexpr const char* name = "tee";
};

/// What `close` returns.
class [[nodiscard("co_await the operation")]] close_operation
    : public detail::raw_operation<detail::uapi::op_close, void> {
public:
    using awaiter = detail::operation_awaiter<close_operation>;
    explicit close_operation(int fd) noexcept : raw_operation({.fd = fd}) {}

private:
    friend awaiter;
    static constexpr const char* name = "close";
    static constexpr bool never_refused = true;

    bool begin(detail::run_loop& loop, std::int32_t& result) const noexcept;
};

/// What `nop` returns.
class [[nodiscard("co_await the operation")]] nop_operation
    : public detail::raw_operation<detail::uapi::op_nop, void> {
public:
    using awaiter = detail::operation_awaiter<nop_operation>;
    nop_operation() noexcept : raw_operation(detail::raw_entry()) {}

private:
    friend awaiter;
    static constexpr const char* name = "nop";
};

/// Reads from a pipe, a terminal or a file; 0 at the end. 5.6, read(2), pread(2).
///
/// \par Errors  `EAGAIN` on an O_NONBLOCK descriptor, with the kernel's ring: wait with `poll`.
inline read_operation
read(int fd, std::span<std::byte> buffer, std::uint64_t offset = own_position) noexcept {
    return read_operation(fd, buffer, offset);
}

/// Writes to a pipe, a terminal or a file; may write fewer bytes than asked for. 5.6, write(2),
/// pwrite(2).
///
/// Where a pipe or socket has no reader it yields `EPIPE`. With the kernel's ring SIGPIPE rises as
/// well, so a program that writes to pipes ignores that signal; the other engines never raise it.
inline write_operation
write(int fd, std::span<const std::byte> buffer, std::uint64_t offset = own_position) noexcept {
    return write_operation(fd, buffer, offset);
}

/// `read` into several pieces of memory, one after the other. 5.1, readv(2), preadv(2).
inline readv_operation readv(
    int fd, std::span<const mutable_buffer> buffers, std::uint64_t offset = own_position
) noexcept {
    return readv_operation(fd, buffers, offset);
}

/// `write` from several pieces of memory, one after the other. 5.1, writev(2), pwritev(2).
inline writev_operation writev(
    int fd, std::span<const const_buffer> buffers, std::uint64_t offset = own_position
) noexcept {
    return writev_operation(fd, buffers, offset);
}

/// Waits until a descriptor is ready: `events` and the result are the POLL_ values of poll(2). 5.1.
inline poll_operation poll(int fd, int events) noexcept {
    return poll_operation(fd, events);
}

/// Moves bytes between a pipe and something else, or between two pipes, without copying them to
/// user space; may move fewer than asked for, and 0 at the end of `from`. 5.7, splice(2).
///
/// The kernel's ring runs it in a thread of its own, which waits as long as it has to, one for each
/// splice: between sockets `recv` and `send` are usually cheaper (see `copy`).
///
/// \par Errors        `EINVAL` neither end is a pipe, or an end does not splice. `ESPIPE` an offset
///                    for a pipe. `EPIPE` where a pipe or socket has no reader; no SIGPIPE.
/// \par Cancellation  Bytes that moved are the result. What is in the pipe stays there.
inline splice_operation
splice(int from, int to, std::size_t size, const splice_options& options = {}) noexcept {
    return splice_operation(from, to, size, options);
}

/// Duplicates bytes from a pipe into another one, without taking them. 5.8, tee(2).
inline tee_operation tee(int from, int to, std::size_t size, unsigned flags = 0) noexcept {
    return tee_operation(from, to, size, flags);
}

/// Closes the descriptor. 5.6, close(2).
///
/// What is in flight on it must have ended; nothing is canceled. Not refused in a canceled scope,
/// and not canceled. Whatever it yields, the descriptor is closed, unless it was none (`EBADF`).
inline close_operation close(int fd) noexcept {
    return close_operation(fd);
}

/// Does nothing, by way of the engine. 5.1.
inline nop_operation nop() noexcept {
    return {};
}

/// To be called, on the scheduler's thread, before a descriptor that raw operations have used is
/// closed by hand or given away: what is queued for it is handed over, and what the engine knows of
/// the number is dropped. Software engines end what is still in flight on it with `ECANCELED`.
/// Without a scheduler it does nothing.
void forget(int fd) noexcept;

} // namespace gyre::inline v0::op
