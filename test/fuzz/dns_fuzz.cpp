// Any bytes as a DNS message: the reply is within its bounds and a reply, or there is none.

#include "samples/dns_message.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const auto hosts = samples::dns::host_table::parse("192.0.2.1 a a.b\n2001:db8::1 a\n");
    const auto message = std::as_bytes(std::span(data, size));
    std::array<std::byte, 512> reply;
    const std::size_t answered = samples::dns::answer(hosts, message, reply);
    if (answered == 0) {
        return 0;
    }
    const bool is_reply = answered >= 12 && answered <= reply.size() && size >= 12 &&
                          reply[0] == message[0] && reply[1] == message[1] &&
                          (std::to_integer<int>(reply[2]) & 0x80) != 0;
    if (!is_reply || samples::dns::answer(hosts, std::span(reply).first(answered), reply) != 0) {
        std::abort(); // And a reply is never answered.
    }
    return 0;
}
