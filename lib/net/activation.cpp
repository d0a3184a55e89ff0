#include <gyre/net/activation.hpp>

#include <gyre/error.hpp>
#include <gyre/net/owned_descriptor.hpp>
#include <gyre/result.hpp>

#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

namespace gyre::inline v0 {

namespace {

constexpr int first_descriptor = 3; // SD_LISTEN_FDS_START

// The value of a variable, which is removed. Nothing in a program that runs with more rights than
// its caller has: secure_getenv(3).
std::optional<std::string> take_variable(const char* name) {
    std::optional<std::string> value;
    if (const char* text = ::secure_getenv(name)) {
        value = text;
    }
    ::unsetenv(name);
    return value;
}

std::optional<int> number_in(std::string_view text) noexcept {
    int number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number < 0) {
        return std::nullopt;
    }
    return number;
}

std::vector<std::string> parts_of(std::string_view text) {
    std::vector<std::string> parts;
    for (;;) {
        const std::size_t colon = text.find(':');
        parts.emplace_back(text.substr(0, colon));
        if (colon == text.npos) {
            return parts;
        }
        text.remove_prefix(colon + 1);
    }
}

} // namespace

result<std::vector<inherited_descriptor>> try_inherited_descriptors() {
    const auto process = take_variable("LISTEN_PID");
    const auto count_text = take_variable("LISTEN_FDS");
    const auto names_text = take_variable("LISTEN_FDNAMES");
    std::vector<inherited_descriptor> taken;
    if (!process || !count_text) {
        return taken;
    }
    const auto meant = number_in(*process);
    const auto count = number_in(*count_text);
    if (!meant || *meant == 0) {
        return errno_code(EINVAL);
    }
    if (*meant != ::getpid()) {
        return taken;
    }
    if (!count || *count > INT_MAX - first_descriptor) {
        return errno_code(EINVAL);
    }
    std::vector<std::string> names;
    if (names_text) {
        names = parts_of(*names_text);
        if (names.size() != static_cast<std::size_t>(*count)) {
            return errno_code(EINVAL);
        }
    }
    for (int fd = first_descriptor; fd < first_descriptor + *count; ++fd) {
        if (::fcntl(fd, F_GETFD) < 0) {
            return errno_code(errno);
        }
    }
    taken.reserve(static_cast<std::size_t>(*count));
    for (int index = 0; index < *count; ++index) {
        const int fd = first_descriptor + index;
        ::fcntl(fd, F_SETFD, FD_CLOEXEC);
        taken.emplace_back(
            owned_descriptor(fd),
            names.empty() ? std::string("unknown")
                          : std::move(names[static_cast<std::size_t>(index)])
        );
    }
    return taken;
}

std::vector<inherited_descriptor> inherited_descriptors() {
    auto taken = try_inherited_descriptors();
    if (!taken) {
        const std::error_code error = taken.error();
        throw_error(
            error,
            "inherited_descriptors",
            error.value() == EBADF
                ? "LISTEN_FDS counts descriptors that are not open, from number 3 on"
                : "LISTEN_PID and LISTEN_FDS are numbers, LISTEN_FDNAMES has a name for each "
                  "descriptor"
        );
    }
    return *std::move(taken);
}

} // namespace gyre::inline v0
