#pragma once

#include <gyre/result.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace gyre::inline v0 {

/// The families of address that an `endpoint` can name.
enum class address_family {
    unspecified, ///< no address at all, or one of a family that gyre has no words for
    ipv4,
    ipv6,
    unix_domain,
};

/// Where a socket is, or shall be: an IPv4 or IPv6 address with a port, or a Unix name.
///
/// A plain value that owns its bytes, in the layout the kernel uses; trivially copyable. It has a
/// text form which `parse` and `to_string` agree on: `parse(e.to_string())` equals `e` for every
/// endpoint of the families above.
///
/// | text                         | meaning                                                      |
/// |------------------------------|--------------------------------------------------------------|
/// | `127.0.0.1:7000`             | IPv4: four decimal numbers without leading zeros, and a port |
/// | `[::1]:7000`                 | IPv6, always in brackets                                     |
/// | `[fe80::1%2]:7000`           | IPv6 with a scope: the number or the name of an interface    |
/// | `unix:/run/echo.sock`        | Unix path, at most 108 bytes; relative ones work as well     |
/// | `unix:@echo`                 | Unix abstract name, at most 107 bytes                        |
/// | `unix:`, `unspecified`       | a Unix socket without a name; the default endpoint           |
///
/// In a Unix name `\xHH` stands for the byte with that hexadecimal value.
///
/// \par Concurrency  A plain value: one thread at a time.
class endpoint {
public:
    /// The default: no address, family `unspecified`, size 0.
    endpoint() noexcept = default;

    /// What `text` says, so that `listener::bind("127.0.0.1:7000")` reads as it does.
    ///
    /// \throws std::system_error  with the errors of `parse`, the text, and how to write it.
    template <class Text>
        requires std::is_convertible_v<const Text&, std::string_view>
    endpoint(const Text& text) : endpoint(parse_or_throw(text)) {}

    /// What `text` says, all of it: no spaces, no names to look up, no default port.
    ///
    /// \par Errors  `EINVAL` none of the forms above. `ENAMETOOLONG` a Unix name that does not fit;
    ///              it is never cut. `ENODEV` no interface has the name given as scope; asking for
    ///              it takes a socket, so `EMFILE` and its like may come out as well.
    static result<endpoint> parse(std::string_view text) noexcept;

    static endpoint ipv4(std::array<std::uint8_t, 4> address, std::uint16_t port) noexcept;

    /// \param scope_id  the number of an interface, which link-local addresses need; 0 for none.
    static endpoint ipv6(
        const std::array<std::uint8_t, 16>& address, std::uint16_t port, std::uint32_t scope_id = 0
    ) noexcept;

    /// A Unix path, byte by byte as it is: nothing in it is an escape.
    ///
    /// \par Errors  `ENAMETOOLONG` it has more than 108 bytes. `EINVAL` it is empty or has a zero.
    static result<endpoint> unix_path(std::string_view path) noexcept;

    /// A Unix abstract name, which may have any byte, zeros as well.
    ///
    /// \par Errors  `ENAMETOOLONG` it has more than 107 bytes.
    static result<endpoint> unix_abstract(std::string_view name) noexcept;

    static endpoint loopback_v4(std::uint16_t port) noexcept; ///< `127.0.0.1`
    static endpoint loopback_v6(std::uint16_t port) noexcept; ///< `[::1]`
    static endpoint any_v4(std::uint16_t port) noexcept;      ///< `0.0.0.0`: every IPv4 address
    static endpoint any_v6(std::uint16_t port) noexcept;      ///< `[::]`: every address

    [[nodiscard]] address_family family() const noexcept;

    /// The port in host order; 0 for a family that has none.
    [[nodiscard]] std::uint16_t port() const noexcept;

    /// The same address with another port. The family must be IPv4 or IPv6.
    [[nodiscard]] endpoint with_port(std::uint16_t port) const noexcept;

    /// The number of the interface that an IPv6 address belongs to; 0 for none.
    [[nodiscard]] std::uint32_t scope_id() const noexcept;

    /// The 4 or 16 bytes of an IP address as they travel, within `*this`; empty for the others.
    [[nodiscard]] std::span<const std::uint8_t> address() const noexcept;

    /// `127.0.0.0/8`, `::1`, and the former as an IPv4-mapped IPv6 address.
    [[nodiscard]] bool is_loopback() const noexcept;

    /// No address is named: `0.0.0.0`, `[::]`, or the default endpoint.
    [[nodiscard]] bool is_unspecified() const noexcept;

    /// The longest text there is, with every byte of a Unix name escaped.
    static constexpr std::size_t text_size_max = 440;

    /// The text form, written to `buffer` without allocating.
    ///
    /// IPv6 is written as in RFC 5952, a scope by its number: looking up the name would ask the
    /// system each time, and a name may change (if_indextoname(3) has it). In Unix names a
    /// backslash and what is not printable ASCII become `\xHH`. A family that gyre has no words for
    /// is written as `family 40`, which `parse` does not take.
    ///
    /// \return  the text, within `buffer`.
    std::string_view format_to(std::span<char, text_size_max> buffer) const noexcept;

    /// The text form of `format_to` in a string.
    [[nodiscard]] std::string to_string() const;

    /// \name As the kernel sees it
    /// For a call that fills in an address: hand it `data()` and `capacity()`, then `resize` to
    /// what it reports. `data()` is a `sockaddr*`, and a size of 0 says that there is none.
    /// \{
    [[nodiscard]] const void* data() const noexcept { return storage_; }
    [[nodiscard]] void* data() noexcept { return storage_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] static constexpr std::size_t capacity() noexcept { return storage_size; }

    /// Takes over the size that the kernel reported. One beyond the capacity means that the kernel
    /// counted what it could not store: for a Unix path of 108 bytes that is only the final zero.
    void resize(std::size_t size) noexcept {
        size_ = static_cast<std::uint16_t>(size < storage_size ? size : storage_size);
    }

    /// The `AF_` constant, whether gyre has a word for it or not.
    [[nodiscard]] int raw_family() const noexcept;
    /// \}

    /// Whether both name the same place: family, address, port and scope, or the same Unix name.
    /// Padding and the flow label of IPv6 do not count.
    friend bool operator==(const endpoint& left, const endpoint& right) noexcept;

private:
    static endpoint parse_or_throw(std::string_view text);

    // A sockaddr_un, the largest of the three. Its struct stays out of this header, which nearly
    // every program includes.
    static constexpr std::size_t storage_size = 110;

    alignas(4) unsigned char storage_[storage_size] = {};
    std::uint16_t size_ = 0;
};

static_assert(std::is_trivially_copyable_v<endpoint> && std::is_trivially_destructible_v<endpoint>);

} // namespace gyre::inline v0

template <>
struct std::hash<gyre::endpoint> {
    std::size_t operator()(const gyre::endpoint& value) const noexcept;
};
