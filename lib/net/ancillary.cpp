#include <gyre/net/ancillary.hpp>

#include <gyre/error.hpp>
#include <gyre/net/descriptor.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/net/owned_descriptor.hpp>
#include <gyre/result.hpp>
#include <gyre/ring/domain.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

namespace gyre::inline v0 {

namespace {

#ifdef SCM_PIDFD
constexpr int scm_pidfd = SCM_PIDFD;
#else
constexpr int scm_pidfd = 4; // 6.5.
#endif

static_assert(static_cast<int>(error_origin::local) == SO_EE_ORIGIN_LOCAL);
static_assert(static_cast<int>(error_origin::icmp) == SO_EE_ORIGIN_ICMP);
static_assert(static_cast<int>(error_origin::icmp6) == SO_EE_ORIGIN_ICMP6);
static_assert(static_cast<int>(error_origin::timestamp) == SO_EE_ORIGIN_TIMESTAMPING);
static_assert(static_cast<int>(error_origin::zero_copy) == SO_EE_ORIGIN_ZEROCOPY);

static_assert(descriptor_room(1) == CMSG_LEN(sizeof(int)));
static_assert(descriptor_room(253) == CMSG_LEN(253 * sizeof(int)));

constexpr std::size_t header_size = CMSG_LEN(0);
constexpr std::size_t alignment = CMSG_SPACE(1) - CMSG_SPACE(0);

// Items may stand at any address, so everything is copied out.
template <class Value>
std::optional<Value> value_in(std::span<const std::byte> bytes) noexcept {
    if (bytes.size() < sizeof(Value)) {
        return std::nullopt;
    }
    Value value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

// The kernel has it in one byte or in an int.
std::optional<int> number_in(std::span<const std::byte> bytes) noexcept {
    if (bytes.size() == 1) {
        return std::to_integer<int>(bytes[0]);
    }
    return value_in<int>(bytes);
}

endpoint endpoint_of(const in_addr& address) noexcept {
    std::array<std::uint8_t, 4> bytes;
    std::memcpy(bytes.data(), &address, bytes.size());
    return endpoint::ipv4(bytes, 0);
}

endpoint endpoint_of(const in6_addr& address, std::uint32_t interface_index) noexcept {
    std::array<std::uint8_t, 16> bytes;
    std::memcpy(bytes.data(), &address, bytes.size());
    const bool needs_scope = IN6_IS_ADDR_LINKLOCAL(&address) || IN6_IS_ADDR_MC_LINKLOCAL(&address);
    return endpoint::ipv6(bytes, 0, needs_scope ? interface_index : 0);
}

// A `sockaddr` of one of the two families; anything else is an endpoint without address.
endpoint address_in(std::span<const std::byte> bytes) noexcept {
    endpoint address;
    const auto family = value_in<sa_family_t>(bytes);
    const std::size_t size = family == AF_INET    ? sizeof(sockaddr_in)
                             : family == AF_INET6 ? sizeof(sockaddr_in6)
                                                  : 0;
    if (size != 0 && bytes.size() >= size) {
        std::memcpy(address.data(), bytes.data(), size);
        address.resize(size);
    }
    return address;
}

bool is_ip(const control_item& item, int type) noexcept {
    return item.level() == IPPROTO_IP && item.type() == type;
}

bool is_ipv6(const control_item& item, int type) noexcept {
    return item.level() == IPPROTO_IPV6 && item.type() == type;
}

bool is_socket(const control_item& item, int type) noexcept {
    return item.level() == SOL_SOCKET && item.type() == type;
}

// The first item of which `reading` makes something.
template <class Reading>
auto first(const control_items& items, Reading reading) noexcept
    -> decltype((control_item().*reading)()) {
    for (const control_item& item : items) {
        if (auto value = (item.*reading)()) {
            return value;
        }
    }
    return std::nullopt;
}

} // namespace

// Reading.

void control_items::iterator::read() noexcept {
    found_ = false;
    if (rest_.size() < header_size) {
        return;
    }
    cmsghdr header;
    std::memcpy(&header, rest_.data(), sizeof header);
    if (header.cmsg_len < header_size || header.cmsg_len > rest_.size()) {
        rest_ = {};
        return;
    }
    const std::size_t size = header.cmsg_len;
    item_ = control_item(
        header.cmsg_level, header.cmsg_type, rest_.subspan(header_size, size - header_size)
    );
    // The last one need not be filled up.
    const std::size_t with_padding = (size + alignment - 1) / alignment * alignment;
    rest_ = rest_.subspan(std::min(with_padding, rest_.size()));
    found_ = true;
}

std::optional<packet_information> control_item::packet() const noexcept {
    packet_information told;
    if (is_ip(*this, IP_PKTINFO)) {
        if (const auto raw = value_in<in_pktinfo>(bytes_)) {
            told.destination = endpoint_of(raw->ipi_addr);
            told.local = endpoint_of(raw->ipi_spec_dst);
            told.interface_index = static_cast<std::uint32_t>(raw->ipi_ifindex);
            return told;
        }
    } else if (is_ipv6(*this, IPV6_PKTINFO)) {
        if (const auto raw = value_in<in6_pktinfo>(bytes_)) {
            told.interface_index = raw->ipi6_ifindex;
            told.destination = endpoint_of(raw->ipi6_addr, told.interface_index);
            if (!IN6_IS_ADDR_MULTICAST(&raw->ipi6_addr)) {
                told.local = told.destination;
            }
            return told;
        }
    }
    return std::nullopt;
}

std::optional<int> control_item::hop_limit() const noexcept {
    return is_ip(*this, IP_TTL) || is_ipv6(*this, IPV6_HOPLIMIT) ? number_in(bytes_) : std::nullopt;
}

std::optional<int> control_item::traffic_class() const noexcept {
    return is_ip(*this, IP_TOS) || is_ipv6(*this, IPV6_TCLASS) ? number_in(bytes_) : std::nullopt;
}

std::optional<std::chrono::sys_time<std::chrono::nanoseconds>>
control_item::timestamp() const noexcept {
    using namespace std::chrono;
    if (!is_socket(*this, SCM_TIMESTAMPNS)) {
        return std::nullopt;
    }
    const auto raw = value_in<timespec>(bytes_);
    // What a clock of nanoseconds can hold.
    constexpr auto seconds_max = nanoseconds::max().count() / 1'000'000'000 - 1;
    if (!raw || raw->tv_sec < -seconds_max || raw->tv_sec > seconds_max || raw->tv_nsec < 0 ||
        raw->tv_nsec >= 1'000'000'000) {
        return std::nullopt;
    }
    return sys_time<nanoseconds>(seconds(raw->tv_sec) + nanoseconds(raw->tv_nsec));
}

std::optional<int> control_item::segment_size() const noexcept {
    return level_ == IPPROTO_UDP && type_ == UDP_GRO ? value_in<int>(bytes_) : std::nullopt;
}

std::optional<std::uint32_t> control_item::dropped() const noexcept {
    return is_socket(*this, SO_RXQ_OVFL) ? value_in<std::uint32_t>(bytes_) : std::nullopt;
}

std::optional<endpoint> control_item::original_destination() const noexcept {
    if (!is_ip(*this, IP_ORIGDSTADDR) && !is_ipv6(*this, IPV6_ORIGDSTADDR)) {
        return std::nullopt;
    }
    const endpoint address = address_in(bytes_);
    return address.size() != 0 ? std::optional(address) : std::nullopt;
}

std::optional<queued_error> control_item::error() const noexcept {
    if (!is_ip(*this, IP_RECVERR) && !is_ipv6(*this, IPV6_RECVERR)) {
        return std::nullopt;
    }
    const auto raw = value_in<sock_extended_err>(bytes_);
    if (!raw) {
        return std::nullopt;
    }
    queued_error told;
    told.error = errno_code(static_cast<int>(raw->ee_errno));
    told.origin = static_cast<error_origin>(raw->ee_origin);
    told.type = raw->ee_type;
    told.code = raw->ee_code;
    told.info = raw->ee_info;
    told.data = raw->ee_data;
    told.offender = address_in(bytes_.subspan(sizeof *raw)); // SO_EE_OFFENDER
    return told;
}

std::optional<process_credentials> control_item::credentials() const noexcept {
    if (!is_socket(*this, SCM_CREDENTIALS)) {
        return std::nullopt;
    }
    const auto raw = value_in<ucred>(bytes_);
    return raw ? std::optional(process_credentials{raw->pid, raw->uid, raw->gid}) : std::nullopt;
}

std::size_t control_item::descriptor_count() const noexcept {
    return is_socket(*this, SCM_RIGHTS) ? bytes_.size() / sizeof(int) : 0;
}

int control_item::descriptor(std::size_t index) const noexcept {
    return value_in<int>(bytes_.subspan(index * sizeof(int))).value_or(-1);
}

// What was received.

namespace {

constexpr int taken = -1;

// Calls `found(number)` for each descriptor of that type in `memory`, in place of which the answer
// is written; stops when that is true.
template <class Found>
void each_descriptor(std::span<std::byte> memory, int type, Found&& found) noexcept {
    for (const control_item& item : control_items(memory)) {
        if (!is_socket(item, type)) {
            continue;
        }
        const auto place = static_cast<std::size_t>(item.bytes().data() - memory.data());
        const std::size_t count = item.bytes().size() / sizeof(int);
        for (std::size_t index = 0; index < count; ++index) {
            std::byte* const at = memory.data() + place + index * sizeof(int);
            int number = taken;
            std::memcpy(&number, at, sizeof number);
            if (number < 0) {
                continue;
            }
            const bool last = found(number);
            std::memcpy(at, &number, sizeof number);
            if (last) {
                return;
            }
        }
    }
}

} // namespace

void any_control_buffer::accept(detail::domain& home, std::size_t size, int flags) noexcept {
    home_ = &home;
    size_ = std::min(size, capacity_);
    truncated_ = (flags & MSG_CTRUNC) != 0;
}

std::size_t any_control_buffer::descriptor_count() const noexcept {
    std::size_t count = 0;
    for (const control_item& item : items()) {
        for (std::size_t index = 0; index < item.descriptor_count(); ++index) {
            count += item.descriptor(index) >= 0 ? 1U : 0U;
        }
    }
    return count;
}

owned_descriptor any_control_buffer::take_first(int type) noexcept {
    owned_descriptor found;
    each_descriptor({memory_, size_}, type, [&](int& number) {
        found = owned_descriptor(std::exchange(number, taken), *home_);
        return true;
    });
    return found;
}

owned_descriptor any_control_buffer::take_descriptor() noexcept {
    return take_first(SCM_RIGHTS);
}

owned_descriptor any_control_buffer::take_process() noexcept {
    return take_first(scm_pidfd);
}

void any_control_buffer::clear() noexcept {
    if (size_ != 0) {
        for (const int type : {static_cast<int>(SCM_RIGHTS), scm_pidfd}) {
            each_descriptor({memory_, size_}, type, [&](int& number) {
                detail::close_fd(*home_, std::exchange(number, taken));
                return false;
            });
        }
        size_ = 0;
    }
    truncated_ = false;
}

std::optional<packet_information> any_control_buffer::packet() const noexcept {
    return first(items(), &control_item::packet);
}
std::optional<int> any_control_buffer::hop_limit() const noexcept {
    return first(items(), &control_item::hop_limit);
}
std::optional<int> any_control_buffer::traffic_class() const noexcept {
    return first(items(), &control_item::traffic_class);
}
std::optional<std::chrono::sys_time<std::chrono::nanoseconds>>
any_control_buffer::timestamp() const noexcept {
    return first(items(), &control_item::timestamp);
}
std::optional<int> any_control_buffer::segment_size() const noexcept {
    return first(items(), &control_item::segment_size);
}
std::optional<std::uint32_t> any_control_buffer::dropped() const noexcept {
    return first(items(), &control_item::dropped);
}
std::optional<endpoint> any_control_buffer::original_destination() const noexcept {
    return first(items(), &control_item::original_destination);
}
std::optional<queued_error> any_control_buffer::error() const noexcept {
    return first(items(), &control_item::error);
}
std::optional<process_credentials> any_control_buffer::credentials() const noexcept {
    return first(items(), &control_item::credentials);
}

// Writing.

namespace {

template <class Value>
std::span<const std::byte> bytes_of(const Value& value) noexcept {
    return std::as_bytes(std::span(&value, 1));
}

} // namespace

result<void>
any_control_message::add(int level, int type, std::span<const std::byte> bytes) noexcept {
    const std::size_t room = capacity_ - size_;
    if (room < header_size || bytes.size() > room - header_size) {
        return errno_code(ENOBUFS);
    }
    const std::size_t padded = std::min(CMSG_SPACE(bytes.size()), room);
    cmsghdr header = {};
    header.cmsg_len = CMSG_LEN(bytes.size());
    header.cmsg_level = level;
    header.cmsg_type = type;
    std::byte* const at = memory_ + size_;
    std::memset(at, 0, padded);
    std::memcpy(at, &header, sizeof header);
    if (!bytes.empty()) {
        std::memcpy(at + header_size, bytes.data(), bytes.size());
    }
    size_ += padded;
    return {};
}

result<void>
any_control_message::add_source(const endpoint& local, std::uint32_t interface_index) noexcept {
    if (local.family() == address_family::ipv4) {
        in_pktinfo raw = {};
        raw.ipi_ifindex = static_cast<int>(interface_index);
        std::memcpy(&raw.ipi_spec_dst, local.address().data(), sizeof raw.ipi_spec_dst);
        return add(IPPROTO_IP, IP_PKTINFO, bytes_of(raw));
    }
    if (local.family() == address_family::ipv6) {
        in6_pktinfo raw = {};
        raw.ipi6_ifindex = interface_index != 0 ? interface_index : local.scope_id();
        std::memcpy(&raw.ipi6_addr, local.address().data(), sizeof raw.ipi6_addr);
        return add(IPPROTO_IPV6, IPV6_PKTINFO, bytes_of(raw));
    }
    return errno_code(EAFNOSUPPORT);
}

result<void> any_control_message::add_hop_limit(address_family family, int limit) noexcept {
    switch (family) {
    case address_family::ipv4:
        return add(IPPROTO_IP, IP_TTL, bytes_of(limit));
    case address_family::ipv6:
        return add(IPPROTO_IPV6, IPV6_HOPLIMIT, bytes_of(limit));
    default:
        return errno_code(EAFNOSUPPORT);
    }
}

result<void>
any_control_message::add_traffic_class(address_family family, int traffic_class) noexcept {
    switch (family) {
    case address_family::ipv4:
        return add(IPPROTO_IP, IP_TOS, bytes_of(traffic_class));
    case address_family::ipv6:
        return add(IPPROTO_IPV6, IPV6_TCLASS, bytes_of(traffic_class));
    default:
        return errno_code(EAFNOSUPPORT);
    }
}

result<void> any_control_message::add_segment_size(std::uint16_t size) noexcept {
    return add(IPPROTO_UDP, UDP_SEGMENT, bytes_of(size));
}

result<void> any_control_message::add_descriptors(std::span<const int> descriptors) noexcept {
    return add(SOL_SOCKET, SCM_RIGHTS, std::as_bytes(descriptors));
}

result<void> any_control_message::add_credentials(const process_credentials& process) noexcept {
    ucred raw = {};
    raw.pid = process.process_id;
    raw.uid = process.user_id;
    raw.gid = process.group_id;
    return add(SOL_SOCKET, SCM_CREDENTIALS, bytes_of(raw));
}

} // namespace gyre::inline v0
