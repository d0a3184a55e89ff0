#include <gyre/ring/engine.hpp>

#include "ring/limits.hpp"

#include <gyre/error.hpp>
#include <gyre/log.hpp>
#include <gyre/ring/features.hpp>

#include <stdlib.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace gyre::inline v0 {

const char* engine_name(engine_kind kind) noexcept {
    switch (kind) {
    case engine_kind::automatic:
        return "automatic";
    case engine_kind::uring:
        return "uring";
    case engine_kind::epoll:
        return "epoll";
    case engine_kind::blocking:
        return "blocking";
    }
    return "unknown";
}

std::string engine_report::text() const {
    const auto hexadecimal = [](std::uint32_t value) {
        char digits[8];
        const auto end = std::to_chars(digits, digits + sizeof digits, value, 16).ptr;
        return "0x" + std::string(digits, end);
    };
    const auto listed = [](feature_set set) {
        std::string names;
        for (unsigned index = 0; index < feature_count; ++index) {
            const auto which = static_cast<feature>(index);
            if (set.contains(which)) {
                names += names.empty() ? "" : ",";
                names += feature_name(which);
            }
        }
        return names.empty() ? std::string("none") : names;
    };
    std::string opcode_numbers;
    for (unsigned first = 0; first < opcodes.size(); ++first) {
        if (!opcodes[first]) {
            continue;
        }
        unsigned last = first;
        while (last + 1 < opcodes.size() && opcodes[last + 1]) {
            ++last;
        }
        opcode_numbers += opcode_numbers.empty() ? "" : ",";
        opcode_numbers += std::to_string(first);
        if (last > first) {
            opcode_numbers += "-" + std::to_string(last);
        }
        first = last;
    }

    std::string lines;
    lines += std::string("engine=") + engine_name(engine) + "\n";
    lines += "reason=" + reason + "\n";
    lines += "setup_flags=" + hexadecimal(setup_flags) + "\n";
    lines += "kernel_features=" + hexadecimal(kernel_features) + "\n";
    lines += "submission_entries=" + std::to_string(submission_entries) + "\n";
    lines += "completion_entries=" + std::to_string(completion_entries) + "\n";
    lines += "features=" + listed(features) + "\n";
    lines += "disabled=" + listed(disabled) + "\n";
    lines += "opcodes=" + (opcode_numbers.empty() ? "none" : opcode_numbers) + "\n";
    return lines;
}

namespace detail {

const char* limit_help(int error) noexcept {
    switch (error) {
    case EMFILE:
        return "the process is at its descriptor limit (RLIMIT_NOFILE); raise it with ulimit -n";
    case ENFILE:
        return "the system is at its descriptor limit; see sysctl fs.file-max";
    case ENOSPC:
        return "the user is at the limit of watched descriptors; see sysctl "
               "fs.epoll.max_user_watches";
    case ENOMEM:
        return "the system has no memory left for it";
    default:
        return "";
    }
}

namespace {

constexpr std::array<engine_kind, 4> kinds = {
    engine_kind::automatic, engine_kind::uring, engine_kind::epoll, engine_kind::blocking
};

engine_kind kind_named(std::string_view name) {
    std::string known;
    for (const engine_kind kind : kinds) {
        if (name == engine_name(kind)) {
            return kind;
        }
        known += known.empty() ? "the engines are " : kind == kinds.back() ? " and " : ", ";
        known += engine_name(kind);
    }
    throw_error(errno_code(EINVAL), "GYRE_ENGINE \"" + std::string(name) + "\"", known);
}

std::unique_ptr<engine> make(const engine_options& options, std::string reason) {
    switch (options.kind) {
    case engine_kind::epoll:
        return make_epoll_engine(options, std::move(reason));
    case engine_kind::blocking:
        return make_blocking_engine(options, std::move(reason));
    case engine_kind::automatic:
    case engine_kind::uring:
        break;
    }
    return make_uring_engine(options, std::move(reason));
}

// The kernel is too old, or somebody forbids io_uring: another engine does what this one cannot. A
// limit that was reached is another matter. It would be reached again later.
bool means_unavailable(const std::error_code& code) noexcept {
    return code == errno_code(ENOSYS) || code == errno_code(EPERM) || code == errno_code(EACCES);
}

void log_fallback_once(const std::string& reason) noexcept {
    static constinit std::atomic<bool> said{false};
    if (!said.exchange(true)) {
        log(log_level::warning, reason);
    }
}

} // namespace

std::unique_ptr<engine> make_engine(const engine_options& options) {
    engine_options chosen = options;
    std::string reason = "chosen by scheduler_options";
    // Before the first io_uring call: some sandboxes kill instead of answering.
    if (chosen.kind == engine_kind::automatic) {
        reason = "automatic: the kernel offers io_uring";
        if (const char* wanted = secure_getenv("GYRE_ENGINE"); wanted != nullptr && *wanted) {
            chosen.kind = kind_named(wanted);
            if (chosen.kind != engine_kind::automatic) {
                reason = "chosen by GYRE_ENGINE";
            }
        }
    }
    if (const char* disabled = secure_getenv("GYRE_DISABLE"); disabled != nullptr) {
        chosen.disable = chosen.disable | parse_features(disabled);
    }
    if (chosen.kind != engine_kind::automatic) {
        return make(chosen, std::move(reason));
    }
    try {
        return make_uring_engine(chosen, std::move(reason));
    } catch (const std::system_error& error) {
        if (!means_unavailable(error.code())) {
            throw;
        }
        reason = std::string("automatic: epoll, since io_uring is not available: ") + error.what();
    }
    if (chosen.log_fallback) {
        log_fallback_once(reason);
    }
    return make_epoll_engine(chosen, std::move(reason));
}

} // namespace detail
} // namespace gyre::inline v0
