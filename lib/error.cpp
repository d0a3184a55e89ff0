#include <gyre/error.hpp>

#include "named_category.hpp"

#include <gyre/detail/assert.hpp>
#include <gyre/result.hpp>

#include <features.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace gyre::inline v0 {
namespace {

struct errc_text {
    const char* name;
    const char* meaning;
};

errc_text text_of(int code) noexcept {
    switch (static_cast<errc>(code)) {
    case errc::stopped:
        return {"stopped", "a stop was requested while idle"};
    case errc::timed_out:
        return {"timed_out", "the time limit passed"};
    case errc::end_of_stream:
        return {"end_of_stream", "the data ended too early"};
    case errc::closed:
        return {"closed", "the scheduler has ended"};
    }
    return {"unknown gyre::errc", "no error of gyre has this number"};
}

class category_of_gyre final : public detail::named_category {
public:
    [[nodiscard]] const char* name() const noexcept override { return "gyre"; }

    [[nodiscard]] const char* symbol(int code) const noexcept override {
        return text_of(code).name;
    }

    [[nodiscard]] std::string message(int code) const override { return text_of(code).meaning; }

    [[nodiscard]] std::error_condition default_error_condition(int code) const noexcept override {
        // The other way round stays false: an ETIMEDOUT of TCP is no gyre::errc::timed_out.
        if (code == static_cast<int>(errc::timed_out)) {
            return std::errc::timed_out;
        }
        return {code, *this};
    }
};

// Made before any constructor runs and never destroyed, as constructors and destructors of static
// objects look at error codes as well.
union immortal_category {
    constexpr immortal_category() noexcept : category() {}
    ~immortal_category() {}

    category_of_gyre category;
};

constinit const immortal_category immortal;

bool is_errno(std::error_code code) noexcept {
    return code.category() == std::system_category() || code.category() == std::generic_category();
}

// strerror(3) translates and shares a buffer between threads; its two newer relatives do neither.
// Null for a number that has no name, or no name in this C library.
const char* name_or_null(int code) noexcept {
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 32)
    return code > 0 ? ::strerrorname_np(code) : nullptr;
#else
    static_cast<void>(code);
    return nullptr;
#endif
}

std::string meaning(std::error_code code) {
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 32)
    if (is_errno(code)) {
        if (const char* const text = ::strerrordesc_np(code.value())) {
            return text;
        }
    }
#endif
    return code.message();
}

std::string name(std::error_code code) {
    if (!is_errno(code)) {
        const auto* ours = dynamic_cast<const detail::named_category*>(&code.category());
        if (const char* const known = ours != nullptr ? ours->symbol(code.value()) : nullptr) {
            return known;
        }
        return code.category().name() + (' ' + std::to_string(code.value()));
    }
    if (const char* const known = name_or_null(code.value())) {
        return known;
    }
    return "errno " + std::to_string(code.value());
}

// std::system_error puts the meaning of its code behind whatever it is told, which leaves no room
// for the name and for what helps; so the text is kept beside it. It sits in a runtime_error
// because the copy of that cannot throw, and an exception is copied while it flies.
class described_error final : public std::system_error {
public:
    described_error(std::error_code code, const std::string& text)
        : std::system_error(code), text_(text) {}

    [[nodiscard]] const char* what() const noexcept override { return text_.what(); }

private:
    std::runtime_error text_;
};

} // namespace

const std::error_category& gyre_category() noexcept {
    return immortal.category;
}

std::error_code make_error_code(errc code) noexcept {
    return {static_cast<int>(code), gyre_category()};
}

std::error_code errno_code(int positive_errno) noexcept {
    return {positive_errno, std::system_category()};
}

const char* errno_name(int positive_errno) noexcept {
    const char* const known = name_or_null(positive_errno);
    return known != nullptr ? known : "unknown errno";
}

std::string describe(std::error_code code) {
    if (code.value() == 0) {
        return "success";
    }
    return name(code) + ": " + meaning(code);
}

void throw_error(std::error_code code, std::string_view what, std::string_view help) {
    GYRE_ASSERT(code.value() != 0, "an error is thrown for an actual error");
    std::string text(what);
    text += ": ";
    if (help.empty()) {
        text += describe(code);
    } else {
        text += name(code);
        text += ": ";
        text += help;
    }
    throw described_error(code, text);
}

namespace detail {

void throw_bad_result(int code, const std::error_category& category) {
    throw_error({code, category}, "result::value");
}

void assertion_failed(
    const char* condition, const char* text, const char* file, int line
) noexcept {
    // On the stack and in one write: what led here may have left the heap in pieces, and other
    // threads may be talking to stderr as well.
    std::array<char, 1024> message;
    const int length = std::snprintf(
        message.data(),
        message.size(),
        "gyre: precondition failed: %s (%s) at %s:%d\n",
        text,
        condition,
        file,
        line
    );
    if (length > 0) {
        const std::size_t size = std::min(static_cast<std::size_t>(length), message.size() - 1);
        message[size - 1] = '\n';
        // Nothing is left to be done about a failure.
        [[maybe_unused]] const auto written = ::write(STDERR_FILENO, message.data(), size);
    }
    std::abort();
}

} // namespace detail
} // namespace gyre::inline v0
