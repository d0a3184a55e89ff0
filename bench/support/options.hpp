// Command line options of the form `--name value` and `--name`.
#pragma once

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>

namespace bench {

/// Walks over the arguments of a program and ends it with exit code 2 and a usage line at the first
/// that it cannot read.
class options {
public:
    options(int count, char** arguments, const char* usage) noexcept
        : count_(count), arguments_(arguments), usage_(usage) {}

    /// Steps to the next option; false at the end of the arguments.
    bool next() noexcept {
        if (index_ + 1 >= count_) {
            return false;
        }
        name_ = arguments_[++index_];
        if (name_ == "--help") {
            std::fputs(usage_, stdout);
            std::exit(0);
        }
        return true;
    }

    [[nodiscard]] bool is(std::string_view name) const noexcept { return name_ == name; }

    const char* text() {
        if (index_ + 1 >= count_) {
            fail("needs a value");
        }
        return arguments_[++index_];
    }

    template <typename Number>
    Number number(Number min, Number max) {
        std::string_view value = text();
        Number parsed = {};
        auto outcome = std::from_chars(value.data(), value.data() + value.size(), parsed);
        bool whole = outcome.ec == std::errc() && outcome.ptr == value.data() + value.size();
        // Written so that a floating point value that is no number is refused as well.
        if (!whole || !(parsed >= min && parsed <= max)) {
            fail("has a value that is no number or out of range");
        }
        return parsed;
    }

    /// What follows the option that was read last.
    [[nodiscard]] char** rest() const noexcept { return arguments_ + index_ + 1; }

    [[noreturn]] void fail(const char* problem) const {
        std::fprintf(stderr, "%s %s\n%s", std::string(name_).c_str(), problem, usage_);
        std::exit(2);
    }

    [[noreturn]] void unknown() const { fail("is not an option"); }

private:
    int count_;
    char** arguments_;
    const char* usage_;
    int index_ = 0;
    std::string_view name_;
};

} // namespace bench
