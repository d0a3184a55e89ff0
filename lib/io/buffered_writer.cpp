#include <gyre/io/buffered_writer.hpp>

#include <gyre/detail/assert.hpp>

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>

namespace gyre::inline v0::detail {

write_buffer::write_buffer(std::size_t size)
    : memory_(std::make_unique_for_overwrite<std::byte[]>(size)), capacity_(size) {
    GYRE_ASSERT(size != 0, "a buffered_writer needs a buffer of at least one byte");
}

void write_buffer::add(std::span<const std::byte> more) noexcept {
    if (more.empty()) {
        return;
    }
    if (more.size() > capacity_ - end_) { // What a cancel left, or a send took in part.
        std::memmove(memory_.get(), memory_.get() + begin_, size());
        end_ -= begin_;
        begin_ = 0;
    }
    std::memcpy(memory_.get() + end_, more.data(), more.size());
    end_ += more.size();
}

void write_buffer::drop(std::size_t count) noexcept {
    begin_ += count;
    if (begin_ == end_) {
        begin_ = 0;
        end_ = 0;
    }
}

} // namespace gyre::inline v0::detail
