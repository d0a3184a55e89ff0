#pragma once

#include <gyre/net/option.hpp>

#include <cstdint>

namespace gyre::inline v0 {

// Socket options of IP, IPv6, UDP, and those of sockets in general that belong to datagrams; used
// as those of option.hpp. lib/net/ip_option.cpp asserts the numbers.

/// How a socket deals with the path's MTU: the IP_PMTUDISC values of ip(7).
enum class mtu_discovery : int {
    off = 0,            ///< Packets may be cut on the way (IP_PMTUDISC_DONT).
    wanted = 1,         ///< As the route says (IP_PMTUDISC_WANT).
    strict = 2,         ///< Never cut; a message that is too large is EMSGSIZE (IP_PMTUDISC_DO).
    probe = 3,          ///< Never cut, whatever is known of the path (IP_PMTUDISC_PROBE).
    interface_only = 4, ///< As the interface says; ICMP is not believed (IP_PMTUDISC_INTERFACE).
    omit = 5,           ///< The same, and cut if it has to be (IP_PMTUDISC_OMIT).
};

namespace detail {

inline constexpr int level_ip = 0;
inline constexpr int level_udp = 17;

/// A number that is read and never set.
template <int Level, int Name>
class integer_state {
public:
    static constexpr int level = Level;
    static constexpr int name = Name;
    using native_type = int;
    using value_type = int;

    static constexpr value_type from_native(int native) noexcept { return native; }
};

template <int Level, int Name>
class mtu_discovery_option {
public:
    static constexpr int level = Level;
    static constexpr int name = Name;
    using native_type = int;
    using value_type = mtu_discovery;

    explicit constexpr mtu_discovery_option(mtu_discovery how) noexcept
        : native_(static_cast<int>(how)) {}
    static constexpr value_type from_native(int native) noexcept {
        return static_cast<mtu_discovery>(native);
    }
    constexpr int native() const noexcept { return native_; }

private:
    int native_;
};

} // namespace detail

// Datagrams of any kind.

/// SO_BROADCAST, socket(7): sends to a broadcast address are allowed.
using broadcast = detail::flag_option<detail::level_socket, 6>;
/// SO_TIMESTAMPNS, socket(7): messages bring `timestamp()`.
using receive_timestamps = detail::flag_option<detail::level_socket, 35>;
/// SO_RXQ_OVFL, socket(7): messages bring `dropped()`, once any was lost.
using receive_dropped = detail::flag_option<detail::level_socket, 40>;

// IPv4.

/// IP_TTL, ip(7): of what is sent to one receiver.
using v4_time_to_live = detail::integer_option<detail::level_ip, 2>;
/// IP_TOS, ip(7): service and congestion notification of what is sent.
using v4_type_of_service = detail::integer_option<detail::level_ip, 1>;
/// IP_MTU_DISCOVER, ip(7).
using v4_mtu_discovery = detail::mtu_discovery_option<detail::level_ip, 10>;
/// IP_MTU, ip(7): the known MTU of the path of a connected socket, in bytes; read only.
using v4_path_mtu = detail::integer_state<detail::level_ip, 14>;
/// IP_PKTINFO, ip(7): messages bring `packet()`.
using v4_receive_packet = detail::flag_option<detail::level_ip, 8>;
/// IP_RECVTTL, ip(7): messages bring `hop_limit()`.
using v4_receive_time_to_live = detail::flag_option<detail::level_ip, 12>;
/// IP_RECVTOS, ip(7): messages bring `traffic_class()`.
using v4_receive_type_of_service = detail::flag_option<detail::level_ip, 13>;
/// IP_RECVORIGDSTADDR, ip(7): messages bring `original_destination()`.
using v4_receive_original_destination = detail::flag_option<detail::level_ip, 20>;
/// IP_RECVERR, ip(7): errors that ICMP tells are kept, to be received with MSG_ERRQUEUE.
using v4_receive_errors = detail::flag_option<detail::level_ip, 11>;
/// IP_FREEBIND, ip(7): bind to an address that is not there yet.
using v4_free_bind = detail::flag_option<detail::level_ip, 15>;
/// IP_TRANSPARENT, ip(7): bind to an address of somebody else; needs CAP_NET_ADMIN.
using v4_transparent = detail::flag_option<detail::level_ip, 19>;
/// IP_MULTICAST_TTL, ip(7): of what is sent to a group; 1 unless set.
using v4_multicast_time_to_live = detail::integer_option<detail::level_ip, 33>;
/// IP_MULTICAST_LOOP, ip(7): this machine gets what it sends to a group; on unless set.
using v4_multicast_loop = detail::flag_option<detail::level_ip, 34>;
/// IP_MULTICAST_ALL, ip(7): get what comes for groups that other sockets have joined; on unless
/// set.
using v4_multicast_all = detail::flag_option<detail::level_ip, 49>;

/// IP_MULTICAST_IF, ip(7): the interface, by its number, that sends to groups leave by; 0 for the
/// one the routes say. Set only: the kernel tells an address instead.
class v4_multicast_interface {
public:
    static constexpr int level = detail::level_ip;
    static constexpr int name = 32;
    struct native_type { // struct ip_mreqn
        std::uint32_t group;
        std::uint32_t address;
        std::int32_t interface_index;
    };

    explicit constexpr v4_multicast_interface(std::uint32_t interface_index) noexcept
        : native_{0, 0, static_cast<std::int32_t>(interface_index)} {}
    constexpr native_type native() const noexcept { return native_; }

private:
    native_type native_;
};

// IPv6.

/// IPV6_UNICAST_HOPS, ipv6(7): of what is sent to one receiver; -1 as the route says.
using v6_hop_limit = detail::integer_option<detail::level_ipv6, 16>;
/// IPV6_TCLASS, ipv6(7): service and congestion notification of what is sent.
using v6_traffic_class = detail::integer_option<detail::level_ipv6, 67>;
/// IPV6_MTU_DISCOVER, ipv6(7).
using v6_mtu_discovery = detail::mtu_discovery_option<detail::level_ipv6, 23>;
/// IPV6_MTU, ipv6(7): the known MTU of the path of a connected socket, in bytes. To set it limits
/// what is sent.
using v6_path_mtu = detail::integer_option<detail::level_ipv6, 24>;
/// IPV6_RECVPKTINFO, ipv6(7): messages bring `packet()`.
using v6_receive_packet = detail::flag_option<detail::level_ipv6, 49>;
/// IPV6_RECVHOPLIMIT, ipv6(7): messages bring `hop_limit()`.
using v6_receive_hop_limit = detail::flag_option<detail::level_ipv6, 51>;
/// IPV6_RECVTCLASS, ipv6(7): messages bring `traffic_class()`.
using v6_receive_traffic_class = detail::flag_option<detail::level_ipv6, 66>;
/// IPV6_RECVORIGDSTADDR, ipv6(7): messages bring `original_destination()`.
using v6_receive_original_destination = detail::flag_option<detail::level_ipv6, 74>;
/// IPV6_RECVERR, ipv6(7): errors that ICMP tells are kept, to be received with MSG_ERRQUEUE.
using v6_receive_errors = detail::flag_option<detail::level_ipv6, 25>;
/// IPV6_FREEBIND (4.15): bind to an address that is not there yet.
using v6_free_bind = detail::flag_option<detail::level_ipv6, 78>;
/// IPV6_TRANSPARENT: bind to an address of somebody else; needs CAP_NET_ADMIN.
using v6_transparent = detail::flag_option<detail::level_ipv6, 75>;
/// IPV6_DONTFRAG: a message larger than the interface takes is EMSGSIZE.
using v6_dont_fragment = detail::flag_option<detail::level_ipv6, 62>;
/// IPV6_MULTICAST_HOPS, ipv6(7): of what is sent to a group; 1 unless set.
using v6_multicast_hop_limit = detail::integer_option<detail::level_ipv6, 18>;
/// IPV6_MULTICAST_LOOP, ipv6(7): this machine gets what it sends to a group; on unless set.
using v6_multicast_loop = detail::flag_option<detail::level_ipv6, 19>;
/// IPV6_MULTICAST_ALL (4.20): get what comes for groups that other sockets have joined; on unless
/// set.
using v6_multicast_all = detail::flag_option<detail::level_ipv6, 29>;
/// IPV6_MULTICAST_IF, ipv6(7): the number of the interface that sends to groups leave by.
using v6_multicast_interface = detail::integer_option<detail::level_ipv6, 17>;

// UDP.

/// UDP_CORK, udp(7): sends are put together into one datagram until it is off again.
using udp_cork = detail::flag_option<detail::level_udp, 1>;
/// UDP_SEGMENT (4.18), udp(7): the kernel cuts each message into datagrams of this size; 0 for
/// none.
using udp_segment_size = detail::integer_option<detail::level_udp, 103>;
/// UDP_GRO (5.0), udp(7): datagrams of one sender and size may come as one message; it brings
/// `segment_size()`.
using udp_receive_segments = detail::flag_option<detail::level_udp, 104>;

} // namespace gyre::inline v0
