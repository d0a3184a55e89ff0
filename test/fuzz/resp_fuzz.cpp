// Any bytes as commands to kv_server: they are the same in one piece and in many, within the limits,
// and each of them is answered.

#include "samples/kv/commands.hpp"
#include "samples/kv/resp.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

namespace resp = samples::resp;

constexpr resp::limits limits = {
    .bulk_max = 256, .command_max = 600, .arguments_max = 16, .line_max = 64
};

// All that is sent back, and the arguments as they were understood.
std::string conversation(std::string_view text, std::size_t piece) {
    samples::kv::state server;
    server.limits = limits;
    resp::parser parser(limits);
    std::string said;
    auto last = resp::parser::outcome::more;
    while (!text.empty() && last == resp::parser::outcome::more) {
        const std::string chunk(text.substr(0, piece)); // Gone after this round.
        text.remove_prefix(chunk.size());
        parser.feed(chunk);
        for (last = parser.next(); last == resp::parser::outcome::command; last = parser.next()) {
            const auto arguments = parser.arguments();
            if (arguments.empty() || arguments.size() > limits.line_max) {
                std::abort();
            }
            for (const std::string_view each : arguments) {
                if (each.size() > limits.bulk_max) {
                    std::abort();
                }
                resp::add_bulk(said, each);
            }
            const bool is_info = samples::kv::is_word(arguments[0], "INFO"); // Memory differs.
            std::string reply;
            bool wants_end = false;
            const samples::store::time_point now{std::chrono::milliseconds(1'000'000)};
            samples::kv::execute({server, now, arguments, reply, wants_end});
            if (!reply.ends_with("\r\n")) {
                std::abort();
            }
            said += is_info ? std::string() : reply;
        }
    }
    if (last == resp::parser::outcome::error) {
        resp::add_error(said, parser.error());
    }
    return said;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
    const std::size_t piece = std::max<std::size_t>(data[0], 1);
    if (conversation(text, std::max<std::size_t>(text.size(), 1)) != conversation(text, piece)) {
        std::abort();
    }
    return 0;
}
