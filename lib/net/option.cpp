#include <gyre/net/option.hpp>

#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace gyre::inline v0 {

static_assert(detail::level_socket == SOL_SOCKET);
static_assert(detail::level_tcp == IPPROTO_TCP);
static_assert(detail::level_ipv6 == IPPROTO_IPV6);
static_assert(reuse_address::name == SO_REUSEADDR);
static_assert(reuse_port::name == SO_REUSEPORT);
static_assert(keep_alive::name == SO_KEEPALIVE);
static_assert(send_buffer_size::name == SO_SNDBUF);
static_assert(receive_buffer_size::name == SO_RCVBUF);
static_assert(receive_low_water::name == SO_RCVLOWAT);
static_assert(forced_send_buffer_size::name == SO_SNDBUFFORCE);
static_assert(forced_receive_buffer_size::name == SO_RCVBUFFORCE);
static_assert(priority::name == SO_PRIORITY);
static_assert(out_of_band_inline::name == SO_OOBINLINE);
static_assert(bound_device::name == SO_BINDTODEVICE);
static_assert(sizeof(bound_device::native_type) == IFNAMSIZ);
static_assert(packet_mark::name == SO_MARK);
static_assert(incoming_cpu::name == SO_INCOMING_CPU);
static_assert(socket_cookie::name == SO_COOKIE);
static_assert(socket_type::name == SO_TYPE);
static_assert(socket_domain::name == SO_DOMAIN);
static_assert(socket_protocol::name == SO_PROTOCOL);
static_assert(accepts_connections::name == SO_ACCEPTCONN);
static_assert(cork::name == TCP_CORK);
static_assert(quick_ack::name == TCP_QUICKACK);
static_assert(segment_size_max::name == TCP_MAXSEG);
static_assert(connect_retries::name == TCP_SYNCNT);
static_assert(fin_wait::name == TCP_LINGER2);
static_assert(not_sent_low_water::name == 25); // TCP_NOTSENT_LOWAT, which old headers lack.
static_assert(congestion_control::name == TCP_CONGESTION);
static_assert(no_delay::name == TCP_NODELAY);
static_assert(keep_alive_idle::name == TCP_KEEPIDLE);
static_assert(keep_alive_interval::name == TCP_KEEPINTVL);
static_assert(keep_alive_count::name == TCP_KEEPCNT);
static_assert(defer_accept::name == TCP_DEFER_ACCEPT);
static_assert(user_timeout::name == TCP_USER_TIMEOUT);
static_assert(fast_open::name == TCP_FASTOPEN);
static_assert(fast_open_connect::name == TCP_FASTOPEN_CONNECT);
static_assert(v6_only::name == IPV6_V6ONLY);
static_assert(linger::name == SO_LINGER);
static_assert(sizeof(linger::native_type) == sizeof(::linger));

} // namespace gyre::inline v0
