#include <gyre/io/buffered_reader.hpp>

#include <gyre/detail/assert.hpp>
#include <gyre/error.hpp>
#include <gyre/result.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace gyre::inline v0::detail {

read_buffer::read_buffer(std::size_t size)
    : memory_(std::make_unique_for_overwrite<std::byte[]>(size)), capacity_(size) {
    GYRE_ASSERT(size != 0, "a buffered_reader needs a buffer of at least one byte");
}

std::span<std::byte> read_buffer::room() noexcept {
    if (begin_ == end_) {
        begin_ = 0;
        end_ = 0;
    } else if (begin_ != 0 && capacity_ - end_ < capacity_ / 2) {
        // Once for a piece at most: then it begins at the front.
        std::memmove(memory_.get(), memory_.get() + begin_, size());
        end_ -= begin_;
        begin_ = 0;
    }
    return {memory_.get() + end_, capacity_ - end_};
}

std::size_t read_buffer::take_into(std::span<std::byte> buffer) noexcept {
    const std::size_t count = std::min(size(), buffer.size());
    if (count != 0) {
        std::memcpy(buffer.data(), memory_.get() + begin_, count);
        begin_ += count;
    }
    return count;
}

std::optional<result<std::string_view>>
read_buffer::take_line(std::size_t limit, std::size_t& scanned) noexcept {
    const auto* const first = reinterpret_cast<const char*>(memory_.get() + begin_);
    const std::size_t there = size();
    limit = std::min(limit, capacity_);
    // The longest line and CR LF; beyond that a line feed is of no use.
    const std::size_t searched = std::min(there, limit + 2);
    if (scanned < searched) {
        const void* const found = std::memchr(first + scanned, '\n', searched - scanned);
        if (found != nullptr) {
            const auto position = static_cast<std::size_t>(static_cast<const char*>(found) - first);
            std::size_t length = position;
            if (length != 0 && first[length - 1] == '\r') {
                --length;
            }
            if (length > limit) {
                return result<std::string_view>(errno_code(EMSGSIZE));
            }
            begin_ += position + 1;
            return result<std::string_view>(std::string_view(first, length));
        }
        scanned = searched;
    }
    const bool too_long =
        there == capacity_ || there >= limit + 2 || (there == limit + 1 && first[limit] != '\r');
    if (too_long) {
        return result<std::string_view>(errno_code(EMSGSIZE));
    }
    return std::nullopt;
}

std::optional<result<std::span<const std::byte>>> read_buffer::take_until(
    std::string_view delimiter, std::size_t limit, std::size_t& scanned
) noexcept {
    GYRE_ASSERT(!delimiter.empty(), "read_until needs a delimiter of at least one byte");
    const auto* const first = reinterpret_cast<const char*>(memory_.get() + begin_);
    const std::size_t there = size();
    const std::size_t searched = std::min(there, limit);
    const std::size_t found = std::string_view(first, searched).find(delimiter, scanned);
    if (found != std::string_view::npos) {
        return result<std::span<const std::byte>>(take(found + delimiter.size()));
    }
    if (there >= limit || there == capacity_) {
        return result<std::span<const std::byte>>(errno_code(EMSGSIZE));
    }
    // Its first bytes may be the last ones here.
    scanned = searched < delimiter.size() ? 0 : searched - delimiter.size() + 1;
    return std::nullopt;
}

} // namespace gyre::inline v0::detail
