#pragma once

#include <gyre/operation/buffer.hpp>
#include <gyre/operation/foreign.hpp>
#include <gyre/operation/operation.hpp>
#include <gyre/result.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace gyre::inline v0::detail {

/// A read of a descriptor that has no position of its own: a pipe, a signalfd.
/// Kernel 5.6. IORING_OP_READ; read(2).
class [[nodiscard("co_await the operation")]] read_operation : public awaitable_base {
public:
    using awaiter = operation_awaiter<read_operation>;
    using result_type = result<std::size_t>;

    read_operation(int fd, operation_id& in_flight, std::span<std::byte> buffer) noexcept
        : buffer_(buffer), in_flight_(&in_flight), fd_(fd) {}

private:
    friend awaiter;
    static constexpr std::uint8_t opcode = uapi::op_read;
    static constexpr const char* name = "read";
    static constexpr bool can_poll_first = false;

    void prepare(submission& entry) const noexcept {
        entry.opcode = opcode;
        entry.fd = fd_;
        entry.offset = ~std::uint64_t{0};
        entry.address = reinterpret_cast<std::uintptr_t>(buffer_.data());
        entry.length = clamp_length(buffer_.size());
    }
    static result_type take(std::int32_t result) noexcept { return size_or_error(result); }
    operation_id* in_flight() const noexcept { return in_flight_; }

    std::span<std::byte> buffer_;
    operation_id* in_flight_;
    int fd_;
};

} // namespace gyre::inline v0::detail
