#pragma once

#include <gyre/net/endpoint.hpp>
#include <gyre/net/owned_descriptor.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/result.hpp>
#include <gyre/ring/domain.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <system_error>

namespace gyre::inline v0 {

// Ancillary data: what travels beside the bytes of a message, as cmsg(3) lays it out. A receive
// fills a `control_buffer`, which owns the descriptors that came; a send takes a `control_message`.

/// Where a datagram was sent to, and which interface it came in by: IP_PKTINFO, IPV6_PKTINFO.
struct packet_information {
    endpoint destination; ///< As the packet says it; the port is 0.
    /// The address of this machine to answer from; that of a group or a broadcast is none.
    endpoint local;
    std::uint32_t interface_index = 0;
};

/// Who found the error of a `queued_error`; the SO_EE_ORIGIN values of ip(7). Others may come.
enum class error_origin : std::uint8_t {
    none = 0,
    local = 1, ///< This machine: a message larger than the path takes, for instance.
    icmp = 2,
    icmp6 = 3,
    timestamp = 4, ///< No error: the time of a transmission.
    zero_copy = 5, ///< No error: memory that was sent from is free.
};

/// An entry of a socket's error queue: IP_RECVERR, IPV6_RECVERR of ip(7).
struct queued_error {
    std::error_code error;
    error_origin origin = error_origin::none;
    std::uint8_t type = 0;  ///< Of the ICMP message.
    std::uint8_t code = 0;  ///< Of the ICMP message.
    std::uint32_t info = 0; ///< With EMSGSIZE: the path's MTU in bytes.
    std::uint32_t data = 0; ///< Depends on the origin.
    endpoint offender = {}; ///< Who sent the ICMP message; unspecified for errors found here.
};

/// A process, as SCM_CREDENTIALS of unix(7) names it.
struct process_credentials {
    int process_id = 0;
    std::uint32_t user_id = 0;
    std::uint32_t group_id = 0;
};

/// One item of ancillary data: its level, its type, its bytes. A view; it lives no longer than the
/// memory it was read from. Each of the typed readings yields nothing if it is not of that kind or
/// too short for it.
class control_item {
public:
    control_item() noexcept = default;
    control_item(int level, int type, std::span<const std::byte> bytes) noexcept
        : bytes_(bytes), level_(level), type_(type) {}

    int level() const noexcept { return level_; }
    int type() const noexcept { return type_; }
    std::span<const std::byte> bytes() const noexcept { return bytes_; }

    /// IP_PKTINFO, IPV6_PKTINFO.
    std::optional<packet_information> packet() const noexcept;
    /// IP_TTL, IPV6_HOPLIMIT.
    std::optional<int> hop_limit() const noexcept;
    /// IP_TOS, IPV6_TCLASS: 6 bits of service, 2 bits of congestion notification.
    std::optional<int> traffic_class() const noexcept;
    /// SCM_TIMESTAMPNS: when the kernel received it.
    std::optional<std::chrono::sys_time<std::chrono::nanoseconds>> timestamp() const noexcept;
    /// UDP_GRO: the size of all datagrams but the last that were put together.
    std::optional<int> segment_size() const noexcept;
    /// SO_RXQ_OVFL: how many datagrams this socket has lost for want of room, in all.
    std::optional<std::uint32_t> dropped() const noexcept;
    /// IP_ORIGDSTADDR, IPV6_ORIGDSTADDR: address and port before a redirection.
    std::optional<endpoint> original_destination() const noexcept;
    /// IP_RECVERR, IPV6_RECVERR.
    std::optional<queued_error> error() const noexcept;
    /// SCM_CREDENTIALS.
    std::optional<process_credentials> credentials() const noexcept;
    /// SCM_RIGHTS: how many descriptors; the numbers are read with `descriptor`.
    std::size_t descriptor_count() const noexcept;
    /// The number at `index`, which is below `descriptor_count()`. It is not the caller's to close.
    int descriptor(std::size_t index) const noexcept;

private:
    std::span<const std::byte> bytes_;
    int level_ = 0;
    int type_ = 0;
};

/// The items in a piece of memory. It need not be well formed: what does not fit ends the range,
/// and nothing outside the memory is read.
class control_items {
public:
    explicit control_items(std::span<const std::byte> memory) noexcept : memory_(memory) {}

    class iterator {
    public:
        using value_type = control_item;
        using difference_type = std::ptrdiff_t;

        iterator() noexcept = default;
        explicit iterator(std::span<const std::byte> rest) noexcept : rest_(rest) { read(); }

        const control_item& operator*() const noexcept { return item_; }
        const control_item* operator->() const noexcept { return &item_; }
        iterator& operator++() noexcept {
            read();
            return *this;
        }
        iterator operator++(int) noexcept {
            iterator before = *this;
            read();
            return before;
        }
        friend bool operator==(const iterator& left, const iterator& right) noexcept {
            return left.found_ == right.found_ &&
                   (!left.found_ || left.item_.bytes().data() == right.item_.bytes().data());
        }

    private:
        void read() noexcept;
        std::span<const std::byte> rest_; // Behind the item.
        control_item item_;
        bool found_ = false;
    };

    iterator begin() const noexcept { return iterator(memory_); }
    iterator end() const noexcept { return {}; }

private:
    std::span<const std::byte> memory_;
};

/// Ancillary data that was received. It owns the descriptors among it: those that nobody takes are
/// closed by the next receive into it, by `clear`, and by the destructor.
///
/// `control_buffer` is how to make one. Used by one thread at a time; by a receive until the task
/// resumes.
class any_control_buffer {
public:
    any_control_buffer(const any_control_buffer&) = delete;
    any_control_buffer& operator=(const any_control_buffer&) = delete;

    /// Everything that came.
    control_items items() const noexcept { return control_items({memory_, size_}); }
    /// Some of it did not fit, MSG_CTRUNC. Descriptors that did not fit were closed by the kernel.
    bool truncated() const noexcept { return truncated_; }

    /// \name The first item of each kind
    /// Nothing if there is none; `control_item` says what they are.
    /// \{
    std::optional<packet_information> packet() const noexcept;
    std::optional<int> hop_limit() const noexcept;
    std::optional<int> traffic_class() const noexcept;
    std::optional<std::chrono::sys_time<std::chrono::nanoseconds>> timestamp() const noexcept;
    std::optional<int> segment_size() const noexcept;
    std::optional<std::uint32_t> dropped() const noexcept;
    std::optional<endpoint> original_destination() const noexcept;
    std::optional<queued_error> error() const noexcept;
    std::optional<process_credentials> credentials() const noexcept;
    /// \}

    /// How many descriptors (SCM_RIGHTS) came and were not taken.
    std::size_t descriptor_count() const noexcept;
    /// The next of them in the order they were sent; not open when none is left.
    owned_descriptor take_descriptor() noexcept;
    /// The descriptor of the sending process, SCM_PIDFD (6.5); not open if there is none.
    owned_descriptor take_process() noexcept;

    /// Forgets everything, and closes the descriptors that nobody took.
    void clear() noexcept;

    std::size_t capacity() const noexcept { return capacity_; }

    /// \name For operations
    /// \{
    /// Empties it and has the receive write to it.
    void offer(detail::message_header& message) noexcept {
        clear();
        message.control = memory_;
        message.control_size = capacity_;
    }
    /// Takes over what a receive has written: `size` and `flags` are those of the message header.
    void accept(detail::domain& home, std::size_t size, int flags) noexcept;
    /// \}

protected:
    any_control_buffer(std::byte* memory, std::size_t capacity) noexcept
        : memory_(memory), capacity_(capacity) {}
    ~any_control_buffer() { clear(); }

private:
    owned_descriptor take_first(int type) noexcept;

    std::byte* memory_;
    std::size_t capacity_;
    std::size_t size_ = 0;
    detail::domain* home_ = nullptr; // Where the descriptors are to be closed.
    bool truncated_ = false;
};

/// The room that `count` descriptors take, and no more of them fit.
constexpr std::size_t descriptor_room(std::size_t count) noexcept {
    return 16 + count * sizeof(int);
}

/// Room for the ancillary data of one received message. An item takes 16 bytes and its data,
/// rounded up to 8: the default holds one of each kind that a datagram brings.
///
/// \tparam Capacity  in bytes.
template <std::size_t Capacity = 256>
class control_buffer final : public any_control_buffer {
public:
    // The memory is only lent to the base, which does not touch it before a receive has.
    control_buffer() noexcept : any_control_buffer(bytes_, Capacity) {}
    ~control_buffer() { clear(); } // While the memory is there.

private:
    alignas(8) std::byte bytes_[Capacity];
};

/// Ancillary data to send. A plain value of bounded size; descriptors in it stay the caller's, who
/// may close them once the send has completed. `control_message` is how to make one.
///
/// Each call adds an item. \par Errors  `ENOBUFS` no room is left: nothing was added.
class any_control_message {
public:
    any_control_message(const any_control_message&) = delete;
    any_control_message& operator=(const any_control_message&) = delete;

    /// The address to send from, and the interface to send by, 0 for the one the routes say:
    /// IP_PKTINFO, IPV6_PKTINFO. The port of `local` does not count; an unspecified address leaves
    /// it to the kernel. `EAFNOSUPPORT` it is neither IPv4 nor IPv6.
    result<void> add_source(const endpoint& local, std::uint32_t interface_index = 0) noexcept;
    /// IP_TTL, IPV6_HOPLIMIT. `EAFNOSUPPORT` the family is neither IPv4 nor IPv6.
    result<void> add_hop_limit(address_family family, int limit) noexcept;
    /// IP_TOS, IPV6_TCLASS. `EAFNOSUPPORT` the family is neither IPv4 nor IPv6.
    result<void> add_traffic_class(address_family family, int traffic_class) noexcept;
    /// UDP_SEGMENT (4.18): the kernel cuts the bytes into datagrams of this size.
    result<void> add_segment_size(std::uint16_t size) noexcept;
    /// SCM_RIGHTS: passes open files over a Unix domain socket.
    result<void> add_descriptors(std::span<const int> descriptors) noexcept;
    /// SCM_CREDENTIALS, which the kernel checks.
    result<void> add_credentials(const process_credentials& process) noexcept;
    /// Anything else.
    result<void> add(int level, int type, std::span<const std::byte> bytes) noexcept;

    void clear() noexcept { size_ = 0; }
    control_items items() const noexcept { return control_items({memory_, size_}); }

    /// \name For operations
    /// \{
    const std::byte* data() const noexcept { return memory_; }
    std::size_t size() const noexcept { return size_; }
    /// \}

protected:
    any_control_message(std::byte* memory, std::size_t capacity) noexcept
        : memory_(memory), capacity_(capacity) {}
    ~any_control_message() = default;

private:
    std::byte* memory_;
    std::size_t capacity_;
    std::size_t size_ = 0;
};

/// Room for the ancillary data of one message to send; as for `control_buffer`.
///
/// \tparam Capacity  in bytes.
template <std::size_t Capacity = 256>
class control_message final : public any_control_message {
public:
    control_message() noexcept : any_control_message(bytes_, Capacity) {}

private:
    alignas(8) std::byte bytes_[Capacity];
};

} // namespace gyre::inline v0
