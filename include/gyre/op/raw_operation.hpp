#pragma once

#include <gyre/operation/buffer.hpp>
#include <gyre/operation/foreign.hpp>
#include <gyre/operation/operation.hpp>
#include <gyre/result.hpp>

#include <cerrno>
#include <cstdint>
#include <span>
#include <type_traits>

namespace gyre::inline v0::detail {

/// What of a submission the raw operations fill in.
struct raw_entry {
    int fd = -1;
    std::uint32_t length = 0;
    std::uint64_t address = 0;
    std::uint64_t offset = 0;
    std::uint32_t flags = 0;
    std::uint32_t file_index = 0;
};

inline std::uint64_t address_of(const void* memory) noexcept {
    return reinterpret_cast<std::uintptr_t>(memory);
}

/// What the operations of the raw layer share: an entry, filled when they are made, and the result
/// as a number or as nothing.
template <std::uint8_t Opcode, class Value>
class raw_operation : public awaitable_base {
public:
    using result_type = result<Value>;

protected:
    explicit raw_operation(const raw_entry& entry) noexcept : entry_(entry) {}

    static constexpr std::uint8_t opcode = Opcode;
    static constexpr bool can_poll_first = false;

    void prepare(submission& entry) const noexcept {
        entry.opcode = Opcode;
        entry.fd = entry_.fd;
        entry.length = entry_.length;
        entry.address = entry_.address;
        entry.offset = entry_.offset;
        entry.operation_flags = entry_.flags;
        entry.file_index = entry_.file_index;
    }
    static result_type take(std::int32_t result) noexcept {
        if (result < 0) [[unlikely]] {
            return error_of(result);
        }
        if constexpr (std::is_void_v<Value>) {
            return result_type();
        } else {
            return static_cast<Value>(result);
        }
    }

    raw_entry entry_;
};

/// Transfers on a socket: the engine must not remember what it learns of its number.
template <std::uint8_t Opcode>
class raw_transfer : public raw_operation<Opcode, std::size_t> {
protected:
    explicit raw_transfer(const raw_entry& entry) noexcept
        : raw_operation<Opcode, std::size_t>(entry) {}

    static constexpr bool can_poll_first = true;

    bool begin(run_loop& loop, std::int32_t&) const noexcept {
        loop.doubt(this->entry_.fd);
        return true;
    }
    bool again(std::int32_t result) const noexcept {
        const auto dontwait = static_cast<std::uint32_t>(message_dontwait);
        return result == -EAGAIN && (this->entry_.flags & dontwait) == 0;
    }
};

/// Closes a descriptor that nobody took.
void close_untaken(int fd) noexcept;

/// Whether the engine knows the opcode. An engine that cannot say knows only what gyre needs.
bool knows_opcode(run_loop& loop, std::uint8_t opcode) noexcept;

} // namespace gyre::inline v0::detail
