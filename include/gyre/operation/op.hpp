#pragma once

#include <gyre/operation/buffer.hpp>
#include <gyre/operation/foreign.hpp>
#include <gyre/operation/operation.hpp>
#include <gyre/result.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

/// The raw layer: one awaitable per opcode on a plain descriptor, for what gyre has no noun for.
/// The descriptor stays the caller's, who keeps it open until the task resumes.
namespace gyre::inline v0::op {

/// What `read` returns.
class [[nodiscard("co_await the operation")]] read_operation : public detail::awaitable_base {
public:
    using awaiter = detail::operation_awaiter<read_operation>;
    using result_type = result<std::size_t>;

    read_operation(int fd, std::span<std::byte> buffer) noexcept : buffer_(buffer), fd_(fd) {}

private:
    friend awaiter;
    static constexpr std::uint8_t opcode = detail::uapi::op_read;
    static constexpr const char* name = "read";
    static constexpr bool can_poll_first = false;

    void prepare(detail::submission& entry) const noexcept {
        entry.opcode = opcode;
        entry.fd = fd_;
        entry.offset = ~std::uint64_t{0}; // The file's own position.
        entry.address = reinterpret_cast<std::uintptr_t>(buffer_.data());
        entry.length = detail::clamp_length(buffer_.size());
    }
    static result_type take(std::int32_t result) noexcept { return detail::size_or_error(result); }

    std::span<std::byte> buffer_;
    int fd_;
};

/// What `write` returns.
class [[nodiscard("co_await the operation")]] write_operation : public detail::awaitable_base {
public:
    using awaiter = detail::operation_awaiter<write_operation>;
    using result_type = result<std::size_t>;

    write_operation(int fd, std::span<const std::byte> buffer) noexcept
        : buffer_(buffer), fd_(fd) {}

private:
    friend awaiter;
    static constexpr std::uint8_t opcode = detail::uapi::op_write;
    static constexpr const char* name = "write";
    static constexpr bool can_poll_first = false;

    void prepare(detail::submission& entry) const noexcept {
        entry.opcode = opcode;
        entry.fd = fd_;
        entry.offset = ~std::uint64_t{0};
        entry.address = reinterpret_cast<std::uintptr_t>(buffer_.data());
        entry.length = detail::clamp_length(buffer_.size());
    }
    static result_type take(std::int32_t result) noexcept { return detail::size_or_error(result); }

    std::span<const std::byte> buffer_;
    int fd_;
};

/// What `poll` returns.
class [[nodiscard("co_await the operation")]] poll_operation : public detail::awaitable_base {
public:
    using awaiter = detail::operation_awaiter<poll_operation>;
    using result_type = result<int>;

    poll_operation(int fd, int events) noexcept : fd_(fd), events_(events) {}

private:
    friend awaiter;
    static constexpr std::uint8_t opcode = detail::uapi::op_poll_add;
    static constexpr const char* name = "poll";
    static constexpr bool can_poll_first = false;

    void prepare(detail::submission& entry) const noexcept {
        entry.opcode = opcode;
        entry.fd = fd_;
        entry.operation_flags = static_cast<std::uint32_t>(events_);
    }
    static result_type take(std::int32_t result) noexcept {
        if (result < 0) {
            return detail::error_of(result);
        }
        return result;
    }

    int fd_;
    int events_;
};

/// Waits until a descriptor is ready: `events` and the result are the POLL values of poll(2). 5.1.
inline poll_operation poll(int fd, int events) noexcept {
    return poll_operation(fd, events);
}

/// Reads from a pipe, a terminal, or a file at its own position. 5.6, read(2).
///
/// On an O_NONBLOCK descriptor it may yield `EAGAIN`: wait with `poll` then.
///
/// \return  the number of bytes; 0 at the end.
inline read_operation read(int fd, std::span<std::byte> buffer) noexcept {
    return read_operation(fd, buffer);
}

/// Writes to a pipe, a terminal, or a file at its own position; may write fewer bytes than asked
/// for. Raises SIGPIPE as write(2) does when a pipe has no reader. 5.6.
inline write_operation write(int fd, std::span<const std::byte> buffer) noexcept {
    return write_operation(fd, buffer);
}

} // namespace gyre::inline v0::op
