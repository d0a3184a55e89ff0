#pragma once

#include <gyre/ring/domain.hpp>

#include <cstdint>

namespace gyre::inline v0::detail {

/// `domain::bind_file` and `domain::remove_file` of the real system.
int bind_file(
    int fd, const void* address, std::uint32_t size, const file_wish& wish, made_file& made
) noexcept;
int remove_file(const made_file& which) noexcept;

} // namespace gyre::inline v0::detail
