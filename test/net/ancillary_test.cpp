#include <gyre/net/ancillary.hpp>

#include <gyre/operation/buffer.hpp>
#include <gyre/ring/domain.hpp>

#include "support/fuzz.hpp"
#include "support/test.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <vector>

#include <fcntl.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;

template <class Value>
std::span<const std::byte> raw(const Value& value) noexcept {
    return std::as_bytes(std::span(&value, 1));
}

// An item as the kernel writes it, whatever its header says of its length.
struct item_bytes {
    item_bytes(
        int level, int type, std::span<const std::byte> data, std::optional<std::size_t> length = {}
    ) {
        cmsghdr header = {};
        header.cmsg_len = length.value_or(CMSG_LEN(data.size()));
        header.cmsg_level = level;
        header.cmsg_type = type;
        bytes.resize(CMSG_LEN(data.size()));
        std::memcpy(bytes.data(), &header, sizeof header);
        std::copy(data.begin(), data.end(), bytes.begin() + CMSG_LEN(0));
    }
    item_bytes& pad() {
        bytes.resize((bytes.size() + 7) / 8 * 8);
        return *this;
    }
    std::vector<std::byte> bytes;
};

std::vector<std::byte> joined(std::initializer_list<item_bytes> items) {
    std::vector<std::byte> all;
    for (const item_bytes& item : items) {
        item_bytes padded = item;
        padded.pad();
        all.insert(all.end(), padded.bytes.begin(), padded.bytes.end());
    }
    return all;
}

// A buffer that "received" these bytes, in memory of exactly their size.
template <std::size_t Capacity>
void receive_into(
    gyre::control_buffer<Capacity>& buffer, std::span<const std::byte> bytes, int flags = 0
) {
    REQUIRE(bytes.size() <= Capacity);
    gyre::detail::message_header message;
    buffer.offer(message);
    REQUIRE(message.control_size == Capacity);
    std::copy(bytes.begin(), bytes.end(), static_cast<std::byte*>(message.control));
    buffer.accept(gyre::detail::kernel_domain(), bytes.size(), flags);
}

int some_descriptor() {
    const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
    return fd;
}

bool is_open(int fd) {
    return ::fcntl(fd, F_GETFD) >= 0;
}

} // namespace

TEST_SUITE_BEGIN("net/ancillary");

TEST_CASE("nothing is in a buffer that nothing was received into") {
    gyre::control_buffer<> buffer;
    CHECK(buffer.items().begin() == buffer.items().end());
    CHECK(!buffer.truncated());
    CHECK(!buffer.packet());
    CHECK(!buffer.error());
    CHECK(buffer.descriptor_count() == 0U);
    CHECK(!buffer.take_descriptor().is_open());
    CHECK(!buffer.take_process().is_open());
    CHECK(buffer.capacity() == 256U);
}

TEST_CASE("each kind of item is read, and no other in its place") {
    in_pktinfo packet = {};
    packet.ipi_ifindex = 7;
    packet.ipi_addr.s_addr = htonl(0xe0000001);
    packet.ipi_spec_dst.s_addr = htonl(0x0a000001);
    const int hops = 17;
    const std::uint8_t service = 0x2a;
    const timespec time = {.tv_sec = 1'700'000'000, .tv_nsec = 123'456'789};
    const int segment = 1200;
    const std::uint32_t dropped = 99;
    const ucred process = {.pid = 12, .uid = 34, .gid = 56};
    sockaddr_in original = {};
    original.sin_family = AF_INET;
    original.sin_port = htons(8080);
    original.sin_addr.s_addr = htonl(0xc0000201);

    gyre::control_buffer<512> buffer;
    receive_into(
        buffer,
        joined(
            {{IPPROTO_IP, 250, raw(hops)}, // None that is known.
             {IPPROTO_IP, IP_PKTINFO, raw(packet)},
             {IPPROTO_IP, IP_TTL, raw(hops)},
             {IPPROTO_IP, IP_TOS, raw(service)},
             {SOL_SOCKET, SCM_TIMESTAMPNS, raw(time)},
             {IPPROTO_UDP, UDP_GRO, raw(segment)},
             {SOL_SOCKET, SO_RXQ_OVFL, raw(dropped)},
             {SOL_SOCKET, SCM_CREDENTIALS, raw(process)},
             {IPPROTO_IP, IP_ORIGDSTADDR, raw(original)}}
        )
    );

    const auto told = buffer.packet();
    REQUIRE(told);
    CHECK(told->destination == gyre::endpoint("224.0.0.1:0"));
    CHECK(told->local == gyre::endpoint("10.0.0.1:0"));
    CHECK(told->interface_index == 7U);
    CHECK(buffer.hop_limit() == 17);
    CHECK(buffer.traffic_class() == 0x2a);
    const auto at = buffer.timestamp();
    REQUIRE(at);
    CHECK(at->time_since_epoch() == 1'700'000'000s + 123'456'789ns);
    CHECK(buffer.segment_size() == 1200);
    CHECK(buffer.dropped() == 99U);
    const auto sender = buffer.credentials();
    REQUIRE(sender);
    CHECK(sender->process_id == 12);
    CHECK(sender->user_id == 34U);
    CHECK(sender->group_id == 56U);
    CHECK(buffer.original_destination() == gyre::endpoint("192.0.2.1:8080"));
    CHECK(!buffer.error());
    CHECK(buffer.descriptor_count() == 0U);

    std::size_t count = 0;
    std::size_t unknown = 0;
    for (const gyre::control_item& item : buffer.items()) {
        ++count;
        unknown += item.type() == 250 ? 1U : 0U;
    }
    CHECK(count == 9U);
    CHECK(unknown == 1U);
}

TEST_CASE("the kinds of IPv6 are read, and a group is no address to answer from") {
    const int hops = 64;
    const int service = 0xb8;
    in6_pktinfo packet = {};
    packet.ipi6_ifindex = 3;
    packet.ipi6_addr = IN6ADDR_LOOPBACK_INIT;
    in6_pktinfo group = packet;
    group.ipi6_addr.s6_addr[0] = 0xff;
    group.ipi6_addr.s6_addr[1] = 0x02;

    gyre::control_buffer<> buffer;
    receive_into(
        buffer,
        joined(
            {{IPPROTO_IPV6, IPV6_HOPLIMIT, raw(hops)},
             {IPPROTO_IPV6, IPV6_TCLASS, raw(service)},
             {IPPROTO_IPV6, IPV6_PKTINFO, raw(packet)}}
        )
    );
    CHECK(buffer.hop_limit() == 64);
    CHECK(buffer.traffic_class() == 0xb8);
    auto told = buffer.packet();
    REQUIRE(told);
    CHECK(told->destination == gyre::endpoint::loopback_v6(0));
    CHECK(told->local == gyre::endpoint::loopback_v6(0));
    CHECK(told->interface_index == 3U);

    receive_into(buffer, joined({{IPPROTO_IPV6, IPV6_PKTINFO, raw(group)}}));
    told = buffer.packet();
    REQUIRE(told);
    CHECK(told->destination == gyre::endpoint("[ff02::1%3]:0"));
    CHECK(told->local.is_unspecified());
    CHECK(!buffer.hop_limit()); // Nothing of what was there before.
}

TEST_CASE("an entry of the error queue says errno, origin, type, code and who complained") {
    struct {
        sock_extended_err error;
        sockaddr_in offender;
    } entry = {};
    entry.error.ee_errno = ECONNREFUSED;
    entry.error.ee_origin = SO_EE_ORIGIN_ICMP;
    entry.error.ee_type = 3;
    entry.error.ee_code = 4;
    entry.error.ee_info = 1280;
    entry.error.ee_data = 5;
    entry.offender.sin_family = AF_INET;
    entry.offender.sin_addr.s_addr = htonl(0xc0000207);

    gyre::control_buffer<> buffer;
    receive_into(buffer, joined({{IPPROTO_IP, IP_RECVERR, raw(entry)}}));
    auto error = buffer.error();
    REQUIRE(error);
    CHECK(error->error == gyre::errno_code(ECONNREFUSED));
    CHECK(error->origin == gyre::error_origin::icmp);
    CHECK(error->type == 3);
    CHECK(error->code == 4);
    CHECK(error->info == 1280U);
    CHECK(error->data == 5U);
    CHECK(error->offender == gyre::endpoint("192.0.2.7:0"));

    // Without an address behind it.
    receive_into(buffer, joined({{IPPROTO_IPV6, IPV6_RECVERR, raw(entry.error)}}));
    error = buffer.error();
    REQUIRE(error);
    CHECK(error->offender.is_unspecified());
}

TEST_CASE("items that are cut or lie about their length end the range, and nothing more is read") {
    const int hops = 64;
    const auto whole = joined({{IPPROTO_IP, IP_TTL, raw(hops)}, {IPPROTO_IP, IP_TTL, raw(hops)}});
    for (std::size_t size = 0; size <= whole.size(); ++size) {
        // Memory of just that size, so that a sanitizer sees what is behind it.
        const auto memory = std::make_unique<std::byte[]>(size);
        std::copy_n(whole.begin(), size, memory.get());
        std::size_t count = 0;
        for (const gyre::control_item& item : gyre::control_items({memory.get(), size})) {
            CHECK(item.hop_limit() == 64);
            ++count;
        }
        CHECK(count == (size >= whole.size() - 4 ? 2U : size >= CMSG_LEN(sizeof hops) ? 1U : 0U));
    }
    for (const std::size_t length :
         {std::size_t{0}, std::size_t{1}, CMSG_LEN(0) - 1, std::size_t{1} << 40, SIZE_MAX}) {
        const item_bytes lying(IPPROTO_IP, IP_TTL, raw(hops), length);
        const gyre::control_items items(lying.bytes);
        CHECK(items.begin() == items.end());
    }
}

TEST_CASE("an item that is too short for its kind is there, and says nothing") {
    const std::array<std::byte, 3> three{};
    gyre::control_buffer<> buffer;
    receive_into(
        buffer,
        joined(
            {{IPPROTO_IP, IP_PKTINFO, three},
             {IPPROTO_IPV6, IPV6_PKTINFO, three},
             {IPPROTO_IP, IP_TTL, three},
             {IPPROTO_IP, IP_RECVERR, three},
             {SOL_SOCKET, SCM_TIMESTAMPNS, three}}
        )
    );
    CHECK(!buffer.packet());
    CHECK(!buffer.hop_limit());
    CHECK(!buffer.error());
    CHECK(!buffer.timestamp());
    receive_into(
        buffer,
        joined(
            {{SOL_SOCKET, SCM_CREDENTIALS, three},
             {SOL_SOCKET, SCM_RIGHTS, three},
             {IPPROTO_UDP, UDP_GRO, three},
             {IPPROTO_IP, IP_ORIGDSTADDR, three}}
        )
    );
    CHECK(!buffer.credentials());
    CHECK(buffer.descriptor_count() == 0U);
    CHECK(!buffer.take_descriptor().is_open());
    CHECK(!buffer.segment_size());
    CHECK(!buffer.original_destination());
    CHECK(std::distance(buffer.items().begin(), buffer.items().end()) == 4);
}

TEST_CASE("a time that no clock of nanoseconds holds is none") {
    gyre::control_buffer<> buffer;
    for (const timespec time :
         {timespec{.tv_sec = INT64_MAX, .tv_nsec = 0},
          timespec{.tv_sec = INT64_MIN, .tv_nsec = 0},
          timespec{.tv_sec = 1, .tv_nsec = -1},
          timespec{.tv_sec = 1, .tv_nsec = 1'000'000'000}}) {
        receive_into(buffer, joined({{SOL_SOCKET, SCM_TIMESTAMPNS, raw(time)}}));
        CHECK(!buffer.timestamp());
    }
}

TEST_CASE("MSG_CTRUNC is reported, and forgotten by the next receive") {
    gyre::control_buffer<> buffer;
    receive_into(buffer, {}, MSG_CTRUNC);
    CHECK(buffer.truncated());
    receive_into(buffer, {}, MSG_TRUNC);
    CHECK(!buffer.truncated());
}

TEST_CASE("descriptors are taken in order, and what nobody takes is closed") {
    const std::array<int, 3> passed = {some_descriptor(), some_descriptor(), some_descriptor()};
    const std::array<int, 1> more = {some_descriptor()};
    {
        gyre::control_buffer<> buffer;
        receive_into(
            buffer,
            joined({{SOL_SOCKET, SCM_RIGHTS, raw(passed)}, {SOL_SOCKET, SCM_RIGHTS, raw(more)}})
        );
        CHECK(buffer.descriptor_count() == 4U);
        CHECK(buffer.take_descriptor().release() == passed[0]);
        CHECK(buffer.take_descriptor().release() == passed[1]);
        CHECK(buffer.descriptor_count() == 2U);
    }
    CHECK(is_open(passed[0]));
    CHECK(is_open(passed[1]));
    CHECK(!is_open(passed[2]));
    CHECK(!is_open(more[0]));
    ::close(passed[0]);
    ::close(passed[1]);
}

TEST_CASE("the next receive into a buffer, and clear, close what nobody took") {
    gyre::control_buffer<> buffer;
    const int first = some_descriptor();
    receive_into(buffer, joined({{SOL_SOCKET, SCM_RIGHTS, raw(first)}}));
    receive_into(buffer, {});
    CHECK(!is_open(first));

    const int second = some_descriptor();
    receive_into(buffer, joined({{SOL_SOCKET, SCM_RIGHTS, raw(second)}}));
    buffer.clear();
    CHECK(!is_open(second));
    buffer.clear();
}

TEST_CASE("a process descriptor is taken or closed, and one that could not be made is neither") {
    gyre::control_buffer<> buffer;
    const int process = some_descriptor();
    receive_into(buffer, joined({{SOL_SOCKET, 4, raw(process)}}));
    CHECK(buffer.descriptor_count() == 0U);
    CHECK(!buffer.take_descriptor().is_open());
    CHECK(buffer.take_process().release() == process);
    CHECK(!buffer.take_process().is_open());
    buffer.clear();
    CHECK(is_open(process));

    receive_into(buffer, joined({{SOL_SOCKET, 4, raw(process)}}));
    buffer.clear();
    CHECK(!is_open(process));
    const int none = -ESRCH;
    receive_into(buffer, joined({{SOL_SOCKET, 4, raw(none)}}));
    CHECK(!buffer.take_process().is_open());
}

TEST_CASE("what a message was given can be read back as it was received") {
    const std::array<int, 2> descriptors = {3, 4};
    gyre::control_message<512> message;
    CHECK(message.add_source("10.1.2.3:99", 5));
    CHECK(message.add_source("[fe80::1%6]:0"));
    CHECK(message.add_hop_limit(gyre::address_family::ipv4, 3));
    CHECK(message.add_traffic_class(gyre::address_family::ipv6, 0x20));
    CHECK(message.add_segment_size(512));
    CHECK(message.add_descriptors(descriptors));
    CHECK(message.add_credentials({.process_id = 1, .user_id = 2, .group_id = 3}));
    CHECK(message.add(SOL_SOCKET, 200, test::bytes_of("xyz")));

    auto item = message.items().begin();
    CHECK(item->level() == IPPROTO_IP);
    const auto v4 = item->packet();
    REQUIRE(v4);
    CHECK(v4->local == gyre::endpoint("10.1.2.3:0"));
    CHECK(v4->interface_index == 5U);
    ++item;
    const auto v6 = item->packet();
    REQUIRE(v6);
    CHECK(v6->destination == gyre::endpoint("[fe80::1%6]:0"));
    CHECK(v6->interface_index == 6U);
    ++item;
    CHECK(item->hop_limit() == 3);
    ++item;
    CHECK(item->traffic_class() == 0x20);
    ++item;
    CHECK(item->type() == UDP_SEGMENT);
    CHECK(item->bytes().size() == 2U);
    ++item;
    REQUIRE(item->descriptor_count() == 2U);
    CHECK(item->descriptor(0) == 3);
    CHECK(item->descriptor(1) == 4);
    ++item;
    CHECK(item->credentials().value().group_id == 3U);
    ++item;
    CHECK(test::text_of(item->bytes()) == "xyz");
    ++item;
    CHECK(item == message.items().end());

    message.clear();
    CHECK(message.size() == 0U);
}

TEST_CASE("an item that does not fit is ENOBUFS, and leaves the message as it was") {
    gyre::control_message<CMSG_SPACE(sizeof(int)) + CMSG_LEN(3)> message;
    CHECK(message.add_hop_limit(gyre::address_family::ipv4, 3));
    const std::size_t size = message.size();
    CHECK(
        message.add(SOL_SOCKET, 200, test::bytes_of("four")).error() == gyre::errno_code(ENOBUFS)
    );
    CHECK(message.size() == size);
    CHECK(message.add(SOL_SOCKET, 200, test::bytes_of("xyz"))); // Its padding would not fit.
    CHECK(message.size() == size + CMSG_LEN(3));
    CHECK(message.add(SOL_SOCKET, 200, {}).error() == gyre::errno_code(ENOBUFS));
    CHECK(std::distance(message.items().begin(), message.items().end()) == 2);
}

TEST_CASE("what belongs to an IP family refuses the others") {
    const auto no_family = gyre::errno_code(EAFNOSUPPORT);
    gyre::control_message<> message;
    CHECK(message.add_source("unix:@name").error() == no_family);
    CHECK(message.add_source(gyre::endpoint()).error() == no_family);
    CHECK(message.add_hop_limit(gyre::address_family::unix_domain, 1).error() == no_family);
    CHECK(message.add_traffic_class(gyre::address_family::unspecified, 1).error() == no_family);
    CHECK(message.size() == 0U);
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("net/fuzz");

TEST_CASE("any bytes are read as ancillary data without reading outside them") {
    test::fuzz({}, [](test::trial& round) {
        for (int repeat = 0; repeat < 200; ++repeat) {
            const auto size = static_cast<std::size_t>(round.below(200));
            const auto memory = std::make_unique<std::byte[]>(size);
            for (std::size_t place = 0; place < size; ++place) {
                memory[place] = static_cast<std::byte>(round.next());
            }
            // Headers that are nearly right, here and there.
            for (std::size_t place = 0; place + sizeof(cmsghdr) <= size; place += 8) {
                if (round.one_in(3)) {
                    constexpr int levels[] = {IPPROTO_IP, IPPROTO_IPV6, SOL_SOCKET, IPPROTO_UDP};
                    cmsghdr header = {};
                    header.cmsg_len = static_cast<std::size_t>(round.below(size - place + 3));
                    header.cmsg_level = levels[round.below(4)];
                    header.cmsg_type = static_cast<int>(round.below(110));
                    std::memcpy(memory.get() + place, &header, sizeof header);
                }
            }
            std::size_t count = 0;
            for (const gyre::control_item& item : gyre::control_items({memory.get(), size})) {
                ++count;
                const auto bytes = item.bytes();
                round.expect(
                    bytes.data() >= memory.get() &&
                        bytes.data() + bytes.size() <= memory.get() + size,
                    "an item lies outside the memory"
                );
                const int readings =
                    item.packet().has_value() + item.hop_limit().has_value() +
                    item.traffic_class().has_value() + item.timestamp().has_value() +
                    item.segment_size().has_value() + item.dropped().has_value() +
                    item.original_destination().has_value() + item.error().has_value() +
                    item.credentials().has_value() + (item.descriptor_count() != 0 ? 1 : 0);
                round.expect(readings <= 1, "an item is of two kinds");
                for (std::size_t index = 0; index < item.descriptor_count(); ++index) {
                    static_cast<void>(item.descriptor(index));
                }
            }
            round.expect(count <= size / CMSG_LEN(0), "there are more items than fit");
        }
    });
}

TEST_SUITE_END();
