#pragma once

#include <gyre/error.hpp>
#include <gyre/result.hpp>

#include <cerrno>
#include <system_error>
#include <type_traits>
#include <utility>

namespace gyre::inline v0::detail {

/// How adaptors read the outcomes that can hold an error, and put one into them.
template <class Outcome>
struct outcome_traits {
    static constexpr bool can_fail = false;
};

template <class T>
struct outcome_traits<result<T>> {
    static constexpr bool can_fail = true;
    using value_type = T;

    static std::error_code error(const result<T>& from) noexcept { return from.error(); }
    static T value(result<T>&& from) {
        if constexpr (!std::is_void_v<T>) {
            return *std::move(from);
        }
    }
    static void replace_error(result<T>& in, std::error_code by) { in = result<T>(by); }
};

inline bool is_canceled(std::error_code error) noexcept {
    return error.value() == ECANCELED && error.category() == std::system_category();
}

} // namespace gyre::inline v0::detail
