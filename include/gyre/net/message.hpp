#pragma once

#include <gyre/net/endpoint.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace gyre::inline v0 {

/// How long a received message was, and how much of it is in the buffer. A plain value.
class message_size {
public:
    constexpr message_size() noexcept = default;
    constexpr message_size(std::size_t stored, std::size_t full) noexcept
        : stored_(static_cast<std::uint32_t>(stored)), full_(static_cast<std::uint32_t>(full)) {}

    /// The bytes in the buffer.
    constexpr std::size_t stored() const noexcept { return stored_; }
    /// The bytes of the message as it was sent.
    constexpr std::size_t full() const noexcept { return full_; }
    /// The buffer was too small; the rest of the message is gone.
    constexpr bool truncated() const noexcept { return stored_ < full_; }

private:
    std::uint32_t stored_ = 0;
    std::uint32_t full_ = 0;
};

} // namespace gyre::inline v0
