#include <gyre/net/option.hpp>

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
