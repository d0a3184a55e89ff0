#pragma once

#include <gyre/op/raw_operation.hpp>
#include <gyre/operation/operation.hpp>

#include <atomic>
#include <cstdint>

namespace gyre::inline v0::op {

/// What `futex_wait` returns.
class [[nodiscard("co_await the operation")]] futex_wait_operation
    : public detail::raw_operation<detail::uapi::op_futex_wait, void> {
public:
    using awaiter = detail::operation_awaiter<futex_wait_operation>;
    futex_wait_operation(const std::atomic<std::uint32_t>& word, std::uint32_t expected) noexcept
        : raw_operation(
              {.fd = private_word, .address = detail::address_of(&word), .offset = expected}
          ) {}

private:
    friend awaiter;
    static constexpr const char* name = "futex_wait";
    static constexpr int private_word = 0x82; // FUTEX2_SIZE_U32 | FUTEX2_PRIVATE

    bool begin(detail::run_loop& loop, std::int32_t& result) const noexcept;
    void prepare(detail::submission& entry) const noexcept {
        raw_operation::prepare(entry);
        entry.address3 = ~std::uint32_t{0}; // Any wake-up.
    }
};

/// What `futex_wake` returns.
class [[nodiscard("co_await the operation")]] futex_wake_operation
    : public detail::raw_operation<detail::uapi::op_futex_wake, std::uint32_t> {
public:
    using awaiter = detail::operation_awaiter<futex_wake_operation>;
    futex_wake_operation(const std::atomic<std::uint32_t>& word, std::uint32_t count_max) noexcept
        : raw_operation(
              {.fd = private_word, .address = detail::address_of(&word), .offset = count_max}
          ) {}

private:
    friend awaiter;
    static constexpr const char* name = "futex_wake";
    static constexpr int private_word = 0x82;

    bool begin(detail::run_loop& loop, std::int32_t& result) const noexcept;
    void prepare(detail::submission& entry) const noexcept {
        raw_operation::prepare(entry);
        entry.address3 = ~std::uint32_t{0};
    }
};

/// Waits until another thread of this process wakes the word, which must hold `expected`. It may
/// resume for nothing: look at the word again. 6.7, futex(2).
///
/// \par Errors  `EAGAIN` the word holds something else. `ENOSYS` the engine is not the kernel's
///              ring, or the kernel is older.
inline futex_wait_operation
futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected) noexcept {
    return futex_wait_operation(word, expected);
}

/// Wakes up to `count_max` that wait for the word; yields how many. 6.7, futex(2).
///
/// \par Errors  `ENOSYS` as for `futex_wait`.
inline futex_wake_operation
futex_wake(const std::atomic<std::uint32_t>& word, std::uint32_t count_max) noexcept {
    return futex_wake_operation(word, count_max);
}

} // namespace gyre::inline v0::op
