#include <gyre/net/ip_option.hpp>

#include <cstddef>

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

namespace gyre::inline v0 {

static_assert(detail::level_ip == IPPROTO_IP);
static_assert(detail::level_udp == IPPROTO_UDP);

static_assert(static_cast<int>(mtu_discovery::off) == IP_PMTUDISC_DONT);
static_assert(static_cast<int>(mtu_discovery::wanted) == IP_PMTUDISC_WANT);
static_assert(static_cast<int>(mtu_discovery::strict) == IP_PMTUDISC_DO);
static_assert(static_cast<int>(mtu_discovery::probe) == IP_PMTUDISC_PROBE);
static_assert(static_cast<int>(mtu_discovery::interface_only) == IP_PMTUDISC_INTERFACE);
static_assert(static_cast<int>(mtu_discovery::omit) == IP_PMTUDISC_OMIT);

static_assert(broadcast::name == SO_BROADCAST);
static_assert(receive_timestamps::name == SO_TIMESTAMPNS);
static_assert(receive_dropped::name == SO_RXQ_OVFL);

static_assert(v4_time_to_live::name == IP_TTL);
static_assert(v4_type_of_service::name == IP_TOS);
static_assert(v4_mtu_discovery::name == IP_MTU_DISCOVER);
static_assert(v4_path_mtu::name == IP_MTU);
static_assert(v4_receive_packet::name == IP_PKTINFO);
static_assert(v4_receive_time_to_live::name == IP_RECVTTL);
static_assert(v4_receive_type_of_service::name == IP_RECVTOS);
static_assert(v4_receive_original_destination::name == IP_RECVORIGDSTADDR);
static_assert(v4_receive_errors::name == IP_RECVERR);
static_assert(v4_free_bind::name == IP_FREEBIND);
static_assert(v4_transparent::name == IP_TRANSPARENT);
static_assert(v4_multicast_time_to_live::name == IP_MULTICAST_TTL);
static_assert(v4_multicast_loop::name == IP_MULTICAST_LOOP);
static_assert(v4_multicast_all::name == IP_MULTICAST_ALL);
static_assert(v4_multicast_interface::name == IP_MULTICAST_IF);
static_assert(sizeof(v4_multicast_interface::native_type) == sizeof(ip_mreqn));
static_assert(
    offsetof(v4_multicast_interface::native_type, interface_index) ==
    offsetof(ip_mreqn, imr_ifindex)
);

static_assert(v6_hop_limit::name == IPV6_UNICAST_HOPS);
static_assert(v6_traffic_class::name == IPV6_TCLASS);
static_assert(v6_mtu_discovery::name == IPV6_MTU_DISCOVER);
static_assert(v6_path_mtu::name == IPV6_MTU);
static_assert(v6_receive_packet::name == IPV6_RECVPKTINFO);
static_assert(v6_receive_hop_limit::name == IPV6_RECVHOPLIMIT);
static_assert(v6_receive_traffic_class::name == IPV6_RECVTCLASS);
static_assert(v6_receive_original_destination::name == IPV6_RECVORIGDSTADDR);
static_assert(v6_receive_errors::name == IPV6_RECVERR);
static_assert(v6_free_bind::name == IPV6_FREEBIND);
static_assert(v6_transparent::name == IPV6_TRANSPARENT);
static_assert(v6_dont_fragment::name == IPV6_DONTFRAG);
static_assert(v6_multicast_hop_limit::name == IPV6_MULTICAST_HOPS);
static_assert(v6_multicast_loop::name == IPV6_MULTICAST_LOOP);
static_assert(v6_multicast_all::name == IPV6_MULTICAST_ALL);
static_assert(v6_multicast_interface::name == IPV6_MULTICAST_IF);

static_assert(udp_cork::name == UDP_CORK);
static_assert(udp_segment_size::name == UDP_SEGMENT);
static_assert(udp_receive_segments::name == UDP_GRO);

} // namespace gyre::inline v0
