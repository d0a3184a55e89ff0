#include <gyre/ring/engine.hpp>

#include <gyre/error.hpp>

#include <cerrno>
#include <charconv>
#include <cstdlib>

namespace gyre::inline v0 {

const char* engine_name(engine_kind kind) noexcept {
    switch (kind) {
    case engine_kind::automatic:
        return "automatic";
    case engine_kind::uring:
        return "uring";
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

std::unique_ptr<engine> make_engine(const engine_options& options) {
    engine_options chosen = options;
    std::string reason = "chosen by scheduler_options";
    // Before the first io_uring call: some sandboxes kill instead of answering.
    if (chosen.kind == engine_kind::automatic) {
        reason = "automatic: the kernel offers io_uring";
        if (const char* wanted = secure_getenv("GYRE_ENGINE"); wanted != nullptr && *wanted) {
            const std::string_view name = wanted;
            if (name != "automatic" && name != "uring") {
                throw_error(
                    errno_code(EINVAL),
                    "GYRE_ENGINE \"" + std::string(name) + "\"",
                    "the engines are automatic and uring"
                );
            }
            if (name != "automatic") {
                chosen.kind = engine_kind::uring;
                reason = "chosen by GYRE_ENGINE";
            }
        }
    }
    if (const char* disabled = secure_getenv("GYRE_DISABLE"); disabled != nullptr) {
        chosen.disable = chosen.disable | parse_features(disabled);
    }
    return make_uring_engine(chosen, std::move(reason));
}

} // namespace detail
} // namespace gyre::inline v0
