#pragma once

#include <gyre/error.hpp>
#include <gyre/result.hpp>
#include <gyre/scheduler/slot_table.hpp>

#include <climits>
#include <cstddef>
#include <cstdint>
#include <span>

namespace gyre::inline v0 {

/// One piece of memory to receive into: an element of the list that a scatter receive takes. It has
/// the layout of the system's `struct iovec`.
struct mutable_buffer {
    std::byte* data = nullptr;
    std::size_t size = 0; ///< In bytes.

    constexpr mutable_buffer() noexcept = default;
    constexpr mutable_buffer(std::span<std::byte> bytes) noexcept
        : data(bytes.data()), size(bytes.size()) {}
};

/// One piece of memory to send: an element of the list that a gather send takes. It has the layout
/// of the system's `struct iovec`.
struct const_buffer {
    const std::byte* data = nullptr;
    std::size_t size = 0; ///< In bytes.

    constexpr const_buffer() noexcept = default;
    constexpr const_buffer(std::span<const std::byte> bytes) noexcept
        : data(bytes.data()), size(bytes.size()) {}
};

namespace detail {

/// What operations need of the socket that they work on; lives in the socket's owner.
struct socket_state {
    int fd = -1;
    operation_id receiving = 0; ///< The one operation in flight per direction, 0 for none.
    operation_id sending = 0;
};

/// The system's `struct msghdr`, whose header is heavy; lib/operation/layout.cpp asserts that the
/// two agree.
struct message_header {
    void* name = nullptr;
    std::uint32_t name_size = 0;
    const void* buffers = nullptr;
    std::size_t buffer_count = 0;
    void* control = nullptr;
    std::size_t control_size = 0;
    int flags = 0;
};

/// The system's `struct mmsghdr`; asserted in the same place.
struct counted_message {
    message_header header;
    std::uint32_t size = 0; ///< Bytes that were received or sent.
};

// The system's MSG_ values that inline code needs; asserted in the same place.
inline constexpr int message_truncate = 0x20;
inline constexpr int message_dontwait = 0x40;
inline constexpr int message_waitall = 0x100;
inline constexpr int message_nosignal = 0x4000;
inline constexpr int message_close_on_exec = 0x40000000;

/// The kernel counts the bytes of one call in an int.
inline std::uint32_t clamp_length(std::size_t size) noexcept {
    return size < INT_MAX ? static_cast<std::uint32_t>(size) : INT_MAX;
}

inline std::error_code error_of(std::int32_t result) noexcept {
    return std::error_code(-result, std::system_category());
}

inline result<std::size_t> size_or_error(std::int32_t result) noexcept {
    if (result < 0) [[unlikely]] {
        return error_of(result);
    }
    return static_cast<std::size_t>(result);
}

} // namespace detail
} // namespace gyre::inline v0
