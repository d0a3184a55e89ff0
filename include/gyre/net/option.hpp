#pragma once

#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace gyre::inline v0 {

// Socket options as types: `peer.set_option(no_delay(true))`, `peer.option<no_delay>()`. Each names
// its level and number and converts to what the kernel takes. lib/net/option.cpp asserts the
// numbers.

namespace detail {

/// An on-off option, an int for the kernel.
template <int Level, int Name>
class flag_option {
public:
    static constexpr int level = Level;
    static constexpr int name = Name;
    using native_type = int;
    using value_type = bool;

    explicit constexpr flag_option(bool on) noexcept : native_(on ? 1 : 0) {}
    static constexpr value_type from_native(int native) noexcept { return native != 0; }
    constexpr int native() const noexcept { return native_; }

private:
    int native_;
};

/// A count or a size in bytes.
template <int Level, int Name>
class integer_option {
public:
    static constexpr int level = Level;
    static constexpr int name = Name;
    using native_type = int;
    using value_type = int;

    explicit constexpr integer_option(int value) noexcept : native_(value) {}
    static constexpr value_type from_native(int native) noexcept { return native; }
    constexpr int native() const noexcept { return native_; }

private:
    int native_;
};

/// A time. What is finer than the kernel's unit is rounded up, so that no wish becomes zero.
template <int Level, int Name, class Unit>
class duration_option {
public:
    static constexpr int level = Level;
    static constexpr int name = Name;
    using native_type = int;
    using value_type = Unit;

    template <class Rep, class Period>
    explicit constexpr duration_option(std::chrono::duration<Rep, Period> value) noexcept
        : native_(
              value < std::chrono::duration<double, typename Unit::period>(INT_MAX)
                  ? static_cast<int>(std::chrono::ceil<Unit>(value).count())
                  : INT_MAX
          ) {}
    static constexpr value_type from_native(int native) noexcept { return Unit(native); }
    constexpr int native() const noexcept { return native_; }

private:
    int native_;
};

/// A number that can be read and not set.
template <int Level, int Name, class Number = int>
class number_query {
public:
    static constexpr int level = Level;
    static constexpr int name = Name;
    using native_type = Number;
    using value_type = Number;

    static constexpr value_type from_native(Number native) noexcept { return native; }
};

/// An answer of yes or no.
template <int Level, int Name>
class flag_query {
public:
    static constexpr int level = Level;
    static constexpr int name = Name;
    using native_type = int;
    using value_type = bool;

    static constexpr value_type from_native(int native) noexcept { return native != 0; }
};

/// A number that can be set and is read by another option.
template <int Level, int Name>
class number_wish {
public:
    static constexpr int level = Level;
    static constexpr int name = Name;
    using native_type = int;

    explicit constexpr number_wish(int value) noexcept : native_(value) {}
    constexpr int native() const noexcept { return native_; }

private:
    int native_;
};

/// A name of up to 15 bytes. A longer one is never cut to another one: it becomes one that the
/// kernel does not know.
template <int Level, int Name>
class name_option {
public:
    static constexpr int level = Level;
    static constexpr int name = Name;
    struct native_type {
        char text[16];
    };
    using value_type = name_option;

    explicit constexpr name_option(std::string_view wish) noexcept : native_{} {
        if (wish.size() >= sizeof native_.text) {
            wish = "\x01";
        }
        for (std::size_t index = 0; index < wish.size(); ++index) {
            native_.text[index] = wish[index];
        }
    }
    static constexpr name_option from_native(const native_type& native) noexcept {
        name_option read("");
        read.native_ = native;
        read.native_.text[sizeof native.text - 1] = '\0';
        return read;
    }
    constexpr const native_type& native() const noexcept { return native_; }
    /// The name, within `*this`.
    constexpr std::string_view text() const noexcept { return native_.text; }

private:
    native_type native_;
};

inline constexpr int level_socket = 1;
inline constexpr int level_tcp = 6;
inline constexpr int level_ipv6 = 41;

} // namespace detail

/// SO_REUSEADDR, socket(7): bind although connections of an earlier listener linger.
using reuse_address = detail::flag_option<detail::level_socket, 2>;
/// SO_REUSEPORT, socket(7): several listeners share one port and the kernel spreads connections.
using reuse_port = detail::flag_option<detail::level_socket, 15>;
/// SO_KEEPALIVE, socket(7): probe a silent peer.
using keep_alive = detail::flag_option<detail::level_socket, 9>;
/// SO_SNDBUF, socket(7): bytes; the kernel doubles the wish.
using send_buffer_size = detail::integer_option<detail::level_socket, 7>;
/// SO_RCVBUF, socket(7): bytes; the kernel doubles the wish.
using receive_buffer_size = detail::integer_option<detail::level_socket, 8>;
/// SO_RCVLOWAT, socket(7): bytes that end a receive's wait; one that finds fewer takes them at once.
using receive_low_water = detail::integer_option<detail::level_socket, 18>;
/// SO_SNDBUFFORCE, SO_RCVBUFFORCE, socket(7): the same beyond the system's limit, with
/// CAP_NET_ADMIN; read as `send_buffer_size` and `receive_buffer_size`.
using forced_send_buffer_size = detail::number_wish<detail::level_socket, 32>;
using forced_receive_buffer_size = detail::number_wish<detail::level_socket, 33>;
/// SO_PRIORITY, socket(7): of what is sent, 0 to 6; above that it needs CAP_NET_ADMIN.
using priority = detail::integer_option<detail::level_socket, 12>;
/// SO_OOBINLINE, socket(7): urgent bytes stay among the others.
using out_of_band_inline = detail::flag_option<detail::level_socket, 10>;
/// SO_BINDTODEVICE, socket(7): only by the network interface of this name; an empty one undoes it.
using bound_device = detail::name_option<detail::level_socket, 25>;
/// SO_MARK, socket(7): for routing and filters; needs CAP_NET_ADMIN.
using packet_mark = detail::integer_option<detail::level_socket, 36>;
/// SO_INCOMING_CPU, socket(7): the processor that works on what comes in.
using incoming_cpu = detail::integer_option<detail::level_socket, 49>;
/// SO_COOKIE, socket(7): a number for this socket alone, as long as the system runs.
using socket_cookie = detail::number_query<detail::level_socket, 57, std::uint64_t>;
/// SO_TYPE, SO_DOMAIN, SO_PROTOCOL, socket(7): the SOCK_, AF_ and IPPROTO_ values it was made with.
using socket_type = detail::number_query<detail::level_socket, 3>;
using socket_domain = detail::number_query<detail::level_socket, 39>;
using socket_protocol = detail::number_query<detail::level_socket, 38>;
/// SO_ACCEPTCONN, socket(7): whether it listens.
using accepts_connections = detail::flag_query<detail::level_socket, 30>;
/// TCP_NODELAY, tcp(7): send small segments at once. gyre sets it unless told otherwise.
using no_delay = detail::flag_option<detail::level_tcp, 1>;
/// TCP_KEEPIDLE, tcp(7): silence before the first probe.
using keep_alive_idle = detail::duration_option<detail::level_tcp, 4, std::chrono::seconds>;
/// TCP_KEEPINTVL, tcp(7): time between probes.
using keep_alive_interval = detail::duration_option<detail::level_tcp, 5, std::chrono::seconds>;
/// TCP_KEEPCNT, tcp(7): probes without answer before the connection is given up.
using keep_alive_count = detail::integer_option<detail::level_tcp, 6>;
/// TCP_DEFER_ACCEPT, tcp(7), on a listener: accept only once data has come, for at most this long.
using defer_accept = detail::duration_option<detail::level_tcp, 9, std::chrono::seconds>;
/// TCP_USER_TIMEOUT, tcp(7): how long sent data may stay unacknowledged.
using user_timeout = detail::duration_option<detail::level_tcp, 18, std::chrono::milliseconds>;
/// TCP_CORK, tcp(7): send full segments only, until it is off again.
using cork = detail::flag_option<detail::level_tcp, 3>;
/// TCP_QUICKACK, tcp(7): acknowledge at once, for now; the kernel changes it by itself.
using quick_ack = detail::flag_option<detail::level_tcp, 12>;
/// TCP_MAXSEG, tcp(7): bytes of a segment at most.
using segment_size_max = detail::integer_option<detail::level_tcp, 2>;
/// TCP_SYNCNT, tcp(7): how often a connect is tried again before it is ETIMEDOUT.
using connect_retries = detail::integer_option<detail::level_tcp, 7>;
/// TCP_LINGER2, tcp(7): how long a closed connection waits for the peer's end.
using fin_wait = detail::duration_option<detail::level_tcp, 8, std::chrono::seconds>;
/// TCP_NOTSENT_LOWAT, tcp(7): bytes not sent yet above which a send waits.
using not_sent_low_water = detail::integer_option<detail::level_tcp, 25>;
/// TCP_CONGESTION, tcp(7): the algorithm by its name, such as "cubic"; `ENOENT` for one that the
/// kernel does not have.
using congestion_control = detail::name_option<detail::level_tcp, 13>;
/// TCP_FASTOPEN, tcp(7), on a listener: the number of pending fast-open requests.
using fast_open = detail::integer_option<detail::level_tcp, 23>;
/// TCP_FASTOPEN_CONNECT (4.11), tcp(7): send the first data with the SYN.
using fast_open_connect = detail::flag_option<detail::level_tcp, 30>;
/// IPV6_V6ONLY, ipv6(7): an IPv6 listener takes no IPv4 connections.
using v6_only = detail::flag_option<detail::level_ipv6, 26>;

/// SO_LINGER, socket(7): what closing does with data that was not sent. On with zero seconds resets
/// the connection.
class linger {
public:
    static constexpr int level = detail::level_socket;
    static constexpr int name = 13;
    struct native_type {
        int on;
        int seconds;
    };
    using value_type = linger;

    linger(bool on, std::chrono::seconds time) noexcept
        : native_{on ? 1 : 0, static_cast<int>(time.count())} {}
    static linger from_native(native_type native) noexcept {
        return linger(native.on != 0, std::chrono::seconds(native.seconds));
    }
    native_type native() const noexcept { return native_; }
    bool is_on() const noexcept { return native_.on != 0; }
    std::chrono::seconds time() const noexcept { return std::chrono::seconds(native_.seconds); }

private:
    native_type native_;
};

/// What TCP_INFO, tcp(7), tells of a connection.
struct tcp_information {
    std::uint8_t state = 0;       ///< 1 established, 8 close-wait, ...; see netinet/tcp.h.
    std::uint8_t retransmits = 0; ///< Of the segment now in flight.
    std::chrono::microseconds round_trip{};
    std::chrono::microseconds round_trip_variance{};
    std::uint32_t send_segment_size = 0;    ///< Bytes.
    std::uint32_t receive_segment_size = 0; ///< Bytes.
    std::uint32_t unacknowledged = 0;       ///< Segments.
    std::uint32_t lost = 0;                 ///< Segments.
    std::uint32_t congestion_window = 0;    ///< Segments.
    std::uint32_t total_retransmits = 0;    ///< Segments.
};
static_assert(std::is_trivially_destructible_v<tcp_information>);

} // namespace gyre::inline v0
