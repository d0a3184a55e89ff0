// options.hpp: the command line of the samples: `--name value`, `--name`, and plain arguments.
#pragma once

#include <gyre/net/endpoint.hpp>
#include <gyre/ring/engine.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <system_error>

namespace samples {

/// Walks over the arguments. At the first that it cannot read it ends the program with exit code 2,
/// the reason and the usage line on stderr.
class options {
public:
    options(int count, char** arguments, const char* usage) noexcept
        : next_(arguments + (count > 0 ? 1 : 0)), end_(arguments + count), usage_(usage) {}

    /// Steps to the next option; false at the end.
    bool next() {
        if (next_ == end_) {
            return false;
        }
        name_ = *next_++;
        if (is("--help")) {
            std::printf("%s\n", usage_);
            std::exit(0);
        }
        return true;
    }
    bool is(std::string_view name) const noexcept { return name == name_; }

    /// Whether this is no option but something to work on; `operand` is what.
    bool is_operand() const noexcept { return name_[0] != '-'; }
    const char* operand() const noexcept { return name_; }

    /// The value of the option.
    const char* text() {
        if (next_ == end_) {
            fail("needs a value");
        }
        return *next_++;
    }
    std::size_t number(std::size_t min, std::size_t max) {
        const double value = decimal();
        const auto whole = static_cast<std::size_t>(value);
        if (static_cast<double>(whole) != value || whole < min || whole > max) {
            fail("needs a whole number within its range");
        }
        return whole;
    }
    /// Seconds, with or without a fraction, more than none.
    std::chrono::nanoseconds seconds() {
        const std::chrono::duration<double> value(decimal());
        const auto duration = std::chrono::duration_cast<std::chrono::nanoseconds>(value);
        if (duration.count() <= 0) {
            fail("needs a time above 0");
        }
        return duration;
    }
    gyre::endpoint endpoint() {
        const char* value = text();
        try {
            return gyre::endpoint(value);
        } catch (const std::system_error& error) {
            fail(error.what());
        }
    }

    gyre::engine_kind engine() {
        const std::string_view value = text();
        for (const gyre::engine_kind kind :
             {gyre::engine_kind::automatic,
              gyre::engine_kind::uring,
              gyre::engine_kind::epoll,
              gyre::engine_kind::blocking}) {
            if (value == gyre::engine_name(kind)) {
                return kind;
            }
        }
        fail("the engines are automatic, uring, epoll and blocking");
    }

    [[noreturn]] void fail(const char* problem) const {
        std::fprintf(stderr, "%s: %s\n%s\n", name_, problem, usage_);
        std::exit(2);
    }
    [[noreturn]] void unknown() const { fail("no such option"); }

    /// For an option that must be there.
    void require(bool given, const char* name) {
        if (!given) {
            name_ = name;
            fail("missing");
        }
    }

private:
    // Digits and a fraction, up to what a duration in nanoseconds can hold; strtod alone would take
    // signs, blanks, hexadecimal numbers and "inf" as well.
    double decimal() {
        const char* value = text();
        const std::string_view all = value;
        char* stop = nullptr;
        const double parsed = std::strtod(value, &stop);
        if (all.empty() || all.find_first_not_of("0123456789.") != all.npos ||
            stop != value + all.size() || parsed > 9e9) {
            fail("needs a number");
        }
        return parsed;
    }

    char** next_;
    char** end_;
    const char* usage_;
    const char* name_ = "";
};

} // namespace samples
