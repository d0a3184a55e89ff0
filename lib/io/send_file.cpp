#include <gyre/io/send_file.hpp>

#include <gyre/op/descriptor.hpp>
#include <gyre/result.hpp>
#include <gyre/task/task.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace gyre::inline v0::detail {

task<result<std::size_t>> read_piece(int file, std::span<std::byte> buffer, std::uint64_t offset) {
    const result<std::size_t> count = co_await op::read(file, buffer, offset);
    co_return count;
}

} // namespace gyre::inline v0::detail
