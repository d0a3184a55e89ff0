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

/// `by` if `error` is ECANCELED, else `error`: how an adaptor names the cancel that it caused. Out of
/// line, so that the rare case costs each await no code.
std::error_code instead_of_canceled(std::error_code error, errc by) noexcept;

} // namespace gyre::inline v0::detail
