#pragma once

#include <gyre/detail/outcome.hpp>

#include <cstddef>
#include <system_error>

namespace gyre::inline v0 {

/// The outcome of a call that moves many bytes: how many moved, and why it ended if that was
/// before the last one. Bytes that moved are never lost because an error followed them.
///
/// \par Concurrency  A plain value: one thread at a time.
class [[nodiscard]] transfer {
public:
    /// Complete: `bytes` is all that was asked for.
    transfer(std::size_t bytes) noexcept : bytes_(bytes) {}

    /// Ended by `error` after `bytes`; an empty code says complete.
    transfer(std::size_t bytes, std::error_code error) noexcept
        : bytes_(bytes), category_(&error.category()), code_(error.value()) {}

    /// How many bytes moved, whether it is complete or not.
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

    /// Why it ended early; an empty code when it did not.
    [[nodiscard]] std::error_code error() const noexcept {
        return code_ == 0 ? std::error_code() : std::error_code(code_, *category_);
    }

    /// True only when every byte moved.
    explicit operator bool() const noexcept { return code_ == 0; }

private:
    // An error_code would ask the library for its category even when there is no error, once for
    // each complete transfer; this looks only when asked.
    std::size_t bytes_;
    const std::error_category* category_ = nullptr;
    int code_ = 0;
};

namespace detail {

template <>
struct outcome_traits<transfer> {
    static constexpr bool can_fail = true;
    using value_type = std::size_t;

    static std::error_code error(const transfer& from) noexcept { return from.error(); }
    static std::size_t value(transfer&& from) noexcept { return from.bytes(); }
    static void replace_error(transfer& in, std::error_code by) noexcept {
        in = transfer(in.bytes(), by);
    }
};

} // namespace detail
} // namespace gyre::inline v0
