#pragma once

// Opt in to fmt: include this file and `fmt::print("{}", endpoint)` works, with fmt 9 to 11. A
// std::error_code has no formatter here, since <fmt/std.h> brings its own; print
// `gyre::describe(code)`.

#include <gyre/error.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/net/transfer.hpp>
#include <gyre/result.hpp>

#include <fmt/format.h>

#include <array>
#include <string>
#include <string_view>

namespace gyre::inline v0::detail {

/// Formats as text does: width, fill and alignment apply to the whole of it.
struct text_formatter : fmt::formatter<fmt::string_view> {
    template <class Context>
    auto format_text(std::string_view text, Context& context) const {
        return fmt::formatter<fmt::string_view>::format({text.data(), text.size()}, context);
    }
};

} // namespace gyre::inline v0::detail

/// `127.0.0.1:7000`, `[::1]:7000`, `unix:/run/echo.sock`.
template <>
struct fmt::formatter<gyre::endpoint> : gyre::detail::text_formatter {
    template <class Context>
    auto format(const gyre::endpoint& value, Context& context) const {
        std::array<char, gyre::endpoint::text_size_max> buffer;
        return format_text(value.format_to(buffer), context);
    }
};

/// `timed_out: the time limit passed`.
template <>
struct fmt::formatter<gyre::errc> : gyre::detail::text_formatter {
    template <class Context>
    auto format(gyre::errc value, Context& context) const {
        return format_text(gyre::describe(value), context);
    }
};

/// `512 bytes`, or `100 bytes, then ECONNRESET: Connection reset by peer`.
template <>
struct fmt::formatter<gyre::transfer> : gyre::detail::text_formatter {
    template <class Context>
    auto format(const gyre::transfer& value, Context& context) const {
        auto text = std::to_string(value.bytes()) + (value.bytes() == 1 ? " byte" : " bytes");
        if (!value) {
            text += ", then " + gyre::describe(value.error());
        }
        return format_text(text, context);
    }
};

/// The value as its own formatter writes it, which also reads the format specification, or
/// `ECONNRESET: Connection reset by peer`.
template <class T>
    requires fmt::is_formattable<T>::value
struct fmt::formatter<gyre::result<T>> {
    constexpr auto parse(fmt::format_parse_context& context) { return value_.parse(context); }

    template <class Context>
    auto format(const gyre::result<T>& value, Context& context) const {
        if (value) {
            return value_.format(*value, context);
        }
        return error_.format_text(gyre::describe(value.error()), context);
    }

private:
    fmt::formatter<T> value_;
    gyre::detail::text_formatter error_;
};

/// `success`, or `ECONNRESET: Connection reset by peer`.
template <>
struct fmt::formatter<gyre::result<void>> : gyre::detail::text_formatter {
    template <class Context>
    auto format(const gyre::result<void>& value, Context& context) const {
        return format_text(gyre::describe(value.error()), context);
    }
};
