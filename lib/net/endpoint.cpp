#include <gyre/net/endpoint.hpp>

#include <gyre/detail/assert.hpp>
#include <gyre/error.hpp>
#include <gyre/result.hpp>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace gyre::inline v0 {
namespace {

static_assert(endpoint::capacity() >= sizeof(sockaddr_un));
static_assert(endpoint::capacity() >= sizeof(sockaddr_in6));
static_assert(alignof(endpoint) >= alignof(sockaddr_in6));
static_assert(alignof(endpoint) >= alignof(sockaddr_un));

constexpr std::size_t path_offset = offsetof(sockaddr_un, sun_path);
constexpr std::size_t path_size_max = sizeof(sockaddr_un::sun_path);

constexpr std::string_view unix_prefix = "unix:";
constexpr std::string_view unspecified_text = "unspecified";

// The struct is copied out and in, since the bytes of an endpoint are not an object of its type.
template <class Address>
Address load(const endpoint& from) noexcept {
    Address address;
    std::memcpy(&address, from.data(), sizeof(address));
    return address;
}

template <class Address>
endpoint store(const Address& address) noexcept {
    endpoint made;
    std::memcpy(made.data(), &address, sizeof(address));
    made.resize(sizeof(address));
    return made;
}

std::span<const std::uint8_t> bytes_of(const endpoint& from) noexcept {
    return {static_cast<const std::uint8_t*>(from.data()), from.size()};
}

bool is_zero(std::uint8_t byte) noexcept {
    return byte == 0;
}

bool starts_as_v4_mapped(std::span<const std::uint8_t> v6) noexcept {
    constexpr std::array<std::uint8_t, 12> prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return std::equal(prefix.begin(), prefix.end(), v6.begin());
}

// The name of a Unix endpoint: empty for none, with its leading zero when abstract. The kernel ends
// a path with a zero when there is room and counts it, and an abstract name by its size alone.
std::span<const std::uint8_t> unix_name(const endpoint& from) noexcept {
    const auto name = bytes_of(from).subspan(path_offset);
    if (name.empty() || name.front() == 0) {
        return name;
    }
    const auto end = std::find(name.begin(), name.end(), std::uint8_t{0});
    return name.first(static_cast<std::size_t>(end - name.begin()));
}

// What two equal endpoints have in common, byte by byte, for comparison and hash.
std::string_view
identity(const endpoint& of, std::span<char, sizeof(sockaddr_in6)> scratch) noexcept {
    const auto* const bytes = static_cast<const char*>(of.data());
    switch (of.family()) {
    case address_family::ipv4:
        return {bytes, offsetof(sockaddr_in, sin_zero)};
    case address_family::ipv6: {
        auto address = load<sockaddr_in6>(of);
        address.sin6_flowinfo = 0;
        std::memcpy(scratch.data(), &address, sizeof(address));
        return {scratch.data(), scratch.size()};
    }
    case address_family::unix_domain:
        return {bytes, path_offset + unix_name(of).size()};
    case address_family::unspecified:
        break;
    }
    return of.raw_family() == AF_UNSPEC ? std::string_view() : std::string_view(bytes, of.size());
}

// ---- Text to endpoint ----

// Decimal digits and nothing else, so that what is read is also what would be written.
template <class Integer>
std::optional<Integer> parse_number(std::string_view text) noexcept {
    if (text.empty() || (text.front() == '0' && text.size() > 1)) {
        return std::nullopt;
    }
    Integer number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return number;
}

// inet_pton(3) is as strict as wanted (no octal, no short forms) once it sees the whole text: it
// reads up to a zero, and the text may hold one itself.
bool parse_address(int family, std::string_view text, void* address) noexcept {
    std::array<char, INET6_ADDRSTRLEN> terminated{};
    if (text.size() >= terminated.size() || text.find('\0') != text.npos) {
        return false;
    }
    std::copy(text.begin(), text.end(), terminated.begin());
    return ::inet_pton(family, terminated.data(), address) == 1;
}

bool is_digit(char character) noexcept {
    return character >= '0' && character <= '9';
}

// A number first, as in RFC 4007, so an interface that is called "7" goes by its number only.
result<std::uint32_t> parse_scope(std::string_view text) noexcept {
    if (text.empty() || text.find('\0') != text.npos) {
        return errno_code(EINVAL);
    }
    if (std::all_of(text.begin(), text.end(), is_digit)) {
        if (const auto number = parse_number<std::uint32_t>(text)) {
            return *number;
        }
        return errno_code(EINVAL);
    }
    std::array<char, IF_NAMESIZE> name{};
    if (text.size() >= name.size()) {
        return errno_code(ENODEV);
    }
    std::copy(text.begin(), text.end(), name.begin());
    const unsigned int index = ::if_nametoindex(name.data());
    if (index == 0) {
        return errno_code(errno == ENXIO ? ENODEV : errno);
    }
    return index;
}

result<endpoint> parse_ipv4(std::string_view text) noexcept {
    const std::size_t colon = text.rfind(':');
    if (colon == text.npos) {
        return errno_code(EINVAL);
    }
    std::array<std::uint8_t, 4> address{};
    const auto port = parse_number<std::uint16_t>(text.substr(colon + 1));
    if (!port || !parse_address(AF_INET, text.substr(0, colon), address.data())) {
        return errno_code(EINVAL);
    }
    return endpoint::ipv4(address, *port);
}

// Takes what follows the opening bracket. The closing one is the last, as an interface may have
// one in its name.
result<endpoint> parse_ipv6(std::string_view text) noexcept {
    const std::size_t bracket = text.rfind(']');
    if (bracket == text.npos || text.substr(bracket, 2) != "]:") {
        return errno_code(EINVAL);
    }
    const std::string_view inside = text.substr(0, bracket);
    const std::size_t percent = inside.find('%');
    std::array<std::uint8_t, 16> address{};
    const auto port = parse_number<std::uint16_t>(text.substr(bracket + 2));
    if (!port || !parse_address(AF_INET6, inside.substr(0, percent), address.data())) {
        return errno_code(EINVAL);
    }
    if (percent == inside.npos) {
        return endpoint::ipv6(address, *port);
    }
    const auto scope = parse_scope(inside.substr(percent + 1));
    if (!scope) {
        return scope.error();
    }
    return endpoint::ipv6(address, *port, *scope);
}

int hexadecimal(char digit) noexcept {
    if (is_digit(digit)) {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

// Takes one byte off the front, written as itself or as \xHH.
std::optional<char> take_byte(std::string_view& text) noexcept {
    if (text.front() != '\\') {
        const char plain = text.front();
        text.remove_prefix(1);
        return plain;
    }
    if (text.size() < 4 || text[1] != 'x') {
        return std::nullopt;
    }
    const int high = hexadecimal(text[2]);
    const int low = hexadecimal(text[3]);
    if (high < 0 || low < 0) {
        return std::nullopt;
    }
    text.remove_prefix(4);
    return static_cast<char>(high * 16 + low);
}

// Takes what follows "unix:".
result<endpoint> parse_unix(std::string_view text) noexcept {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::size_t size = 0;
    const bool is_abstract = text.starts_with('@');
    if (is_abstract) {
        text.remove_prefix(1);
        size = 1; // The zero that stands for '@'.
    }
    bool is_too_long = false;
    while (!text.empty()) {
        const auto byte = take_byte(text);
        // A zero would end the path there: cut, and perhaps another file.
        if (!byte || (*byte == '\0' && !is_abstract)) {
            return errno_code(EINVAL);
        }
        if (size == path_size_max) {
            is_too_long = true;
            continue; // What follows may still be malformed, which is the better answer.
        }
        address.sun_path[size++] = *byte;
    }
    if (is_too_long) {
        return errno_code(ENAMETOOLONG);
    }
    // As the kernel reports it: a path with the zero behind it, where there is room for one.
    if (size > 0 && !is_abstract && size < path_size_max) {
        ++size;
    }
    endpoint made = store(address);
    made.resize(path_offset + size);
    return made;
}

// ---- Endpoint to text ----

class text_writer {
public:
    explicit text_writer(std::span<char> buffer) noexcept : buffer_(buffer) {}

    void put(char character) noexcept { buffer_[size_++] = character; }

    void put(std::string_view text) noexcept {
        for (const char character : text) {
            put(character);
        }
    }

    void put_number(std::uint32_t number, int base = 10) noexcept {
        char* const begin = buffer_.data() + size_;
        const auto written = std::to_chars(begin, buffer_.data() + buffer_.size(), number, base);
        size_ += static_cast<std::size_t>(written.ptr - begin);
    }

    void put_escaped(std::uint8_t byte) noexcept {
        constexpr std::string_view digits = "0123456789abcdef";
        put("\\x");
        put(digits[byte >> 4U]);
        put(digits[byte & 15U]);
    }

    void put_readable(std::uint8_t byte) noexcept {
        if (byte < ' ' || byte > '~' || byte == '\\') {
            put_escaped(byte);
        } else {
            put(static_cast<char>(byte));
        }
    }

    [[nodiscard]] std::string_view text() const noexcept { return {buffer_.data(), size_}; }

private:
    std::span<char> buffer_;
    std::size_t size_ = 0;
};

void write_ipv4(text_writer& out, std::span<const std::uint8_t> address) noexcept {
    for (std::size_t index = 0; index < 4; ++index) {
        if (index > 0) {
            out.put('.');
        }
        out.put_number(address[index]);
    }
}

// RFC 5952: lower case, no leading zeros, "::" for the first of the longest runs of two or more
// zero groups, dotted decimal behind the one prefix that says so.
void write_ipv6(text_writer& out, std::span<const std::uint8_t> address) noexcept {
    if (starts_as_v4_mapped(address)) {
        out.put("::ffff:");
        write_ipv4(out, address.subspan(12));
        return;
    }
    constexpr std::size_t group_count = 8;
    const auto group = [&](std::size_t index) {
        return (std::uint32_t{address[2 * index]} << 8U) | address[2 * index + 1];
    };
    std::size_t gap_begin = group_count;
    std::size_t gap_size = 1;
    for (std::size_t index = 0; index < group_count;) {
        std::size_t end = index;
        while (end < group_count && group(end) == 0) {
            ++end;
        }
        if (end - index > gap_size) {
            gap_begin = index;
            gap_size = end - index;
        }
        index = end + 1;
    }
    for (std::size_t index = 0; index < group_count;) {
        if (index == gap_begin) {
            out.put("::");
            index += gap_size;
            continue;
        }
        if (index > 0 && index != gap_begin + gap_size) {
            out.put(':');
        }
        out.put_number(group(index), 16);
        ++index;
    }
}

void write_unix(text_writer& out, std::span<const std::uint8_t> name) noexcept {
    out.put(unix_prefix);
    if (name.empty()) {
        return;
    }
    // The first byte tells abstract names from paths, so a path that begins with '@' hides it.
    if (name.front() == 0) {
        out.put('@');
    } else if (name.front() == '@') {
        out.put_escaped('@');
    } else {
        out.put_readable(name.front());
    }
    for (const std::uint8_t byte : name.subspan(1)) {
        out.put_readable(byte);
    }
}

result<endpoint> unix_endpoint(std::string_view name, bool is_abstract) noexcept {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::size_t size = is_abstract ? 1 : 0;
    if (name.size() > path_size_max - size) {
        return errno_code(ENAMETOOLONG);
    }
    std::copy(name.begin(), name.end(), address.sun_path + size);
    size += name.size();
    if (!is_abstract && size < path_size_max) {
        ++size; // As the kernel reports it: with the zero behind it, where there is room for one.
    }
    endpoint made = store(address);
    made.resize(path_offset + size);
    return made;
}

// What a message says about a text that is no endpoint: enough to find it, safe for a terminal.
std::string in_quotes(std::string_view text) {
    constexpr std::size_t shown_max = 100;
    std::array<char, 4 * shown_max> buffer;
    text_writer out(buffer);
    for (const char character : text.substr(0, shown_max)) {
        out.put_readable(static_cast<std::uint8_t>(character));
    }
    return '"' + std::string(out.text()) + (text.size() > shown_max ? "...\"" : "\"");
}

std::string_view help_for(std::error_code error, std::string_view text) noexcept {
    switch (error.value()) {
    case EINVAL:
        return text.starts_with(unix_prefix)
                   ? "write a path as unix:/run/name.sock, an abstract name as unix:@name, and any "
                     "byte of either as \\xHH"
                   : "write IPv4 as 127.0.0.1:7000, IPv6 as [::1]:7000";
    case ENAMETOOLONG:
        return "a Unix path has at most 108 bytes, an abstract name 107";
    case ENODEV:
        return "no network interface has the name behind the %";
    default:
        return {};
    }
}

} // namespace

result<endpoint> endpoint::parse(std::string_view text) noexcept {
    if (text.starts_with(unix_prefix)) {
        return parse_unix(text.substr(unix_prefix.size()));
    }
    if (text.starts_with('[')) {
        return parse_ipv6(text.substr(1));
    }
    if (text == unspecified_text) {
        return endpoint();
    }
    return parse_ipv4(text);
}

endpoint endpoint::parse_or_throw(std::string_view text) {
    const auto parsed = parse(text);
    if (!parsed) {
        throw_error(parsed.error(), "endpoint " + in_quotes(text), help_for(parsed.error(), text));
    }
    return *parsed;
}

endpoint endpoint::ipv4(std::array<std::uint8_t, 4> address, std::uint16_t port) noexcept {
    sockaddr_in made{};
    made.sin_family = AF_INET;
    made.sin_port = htons(port);
    std::memcpy(&made.sin_addr, address.data(), address.size());
    return store(made);
}

endpoint endpoint::ipv6(
    const std::array<std::uint8_t, 16>& address, std::uint16_t port, std::uint32_t scope_id
) noexcept {
    sockaddr_in6 made{};
    made.sin6_family = AF_INET6;
    made.sin6_port = htons(port);
    made.sin6_scope_id = scope_id;
    std::memcpy(&made.sin6_addr, address.data(), address.size());
    return store(made);
}

result<endpoint> endpoint::unix_path(std::string_view path) noexcept {
    if (path.empty() || path.find('\0') != path.npos) {
        return errno_code(EINVAL);
    }
    return unix_endpoint(path, false);
}

result<endpoint> endpoint::unix_abstract(std::string_view name) noexcept {
    return unix_endpoint(name, true);
}

endpoint endpoint::loopback_v4(std::uint16_t port) noexcept {
    return ipv4({127, 0, 0, 1}, port);
}

endpoint endpoint::loopback_v6(std::uint16_t port) noexcept {
    std::array<std::uint8_t, 16> address{};
    address.back() = 1;
    return ipv6(address, port);
}

endpoint endpoint::any_v4(std::uint16_t port) noexcept {
    return ipv4({}, port);
}

endpoint endpoint::any_v6(std::uint16_t port) noexcept {
    return ipv6({}, port);
}

int endpoint::raw_family() const noexcept {
    sa_family_t family = AF_UNSPEC;
    if (size_ >= sizeof(family)) {
        std::memcpy(&family, storage_, sizeof(family));
    }
    return family;
}

address_family endpoint::family() const noexcept {
    switch (raw_family()) {
    case AF_INET:
        return size_ >= sizeof(sockaddr_in) ? address_family::ipv4 : address_family::unspecified;
    case AF_INET6:
        return size_ >= sizeof(sockaddr_in6) ? address_family::ipv6 : address_family::unspecified;
    case AF_UNIX:
        return address_family::unix_domain;
    default:
        return address_family::unspecified;
    }
}

std::uint16_t endpoint::port() const noexcept {
    switch (family()) {
    case address_family::ipv4:
        return ntohs(load<sockaddr_in>(*this).sin_port);
    case address_family::ipv6:
        return ntohs(load<sockaddr_in6>(*this).sin6_port);
    default:
        return 0;
    }
}

endpoint endpoint::with_port(std::uint16_t port) const noexcept {
    static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
    endpoint other = *this;
    const bool has_port = family() == address_family::ipv4 || family() == address_family::ipv6;
    GYRE_ASSERT(has_port, "with_port takes an IPv4 or IPv6 endpoint");
    if (has_port) {
        const in_port_t wire_port = htons(port);
        std::memcpy(
            other.storage_ + offsetof(sockaddr_in, sin_port), &wire_port, sizeof(wire_port)
        );
    }
    return other;
}

std::uint32_t endpoint::scope_id() const noexcept {
    return family() == address_family::ipv6 ? load<sockaddr_in6>(*this).sin6_scope_id : 0;
}

std::span<const std::uint8_t> endpoint::address() const noexcept {
    switch (family()) {
    case address_family::ipv4:
        return {storage_ + offsetof(sockaddr_in, sin_addr), sizeof(in_addr)};
    case address_family::ipv6:
        return {storage_ + offsetof(sockaddr_in6, sin6_addr), sizeof(in6_addr)};
    default:
        return {};
    }
}

bool endpoint::is_loopback() const noexcept {
    const auto bytes = address();
    switch (family()) {
    case address_family::ipv4:
        return bytes[0] == 127;
    case address_family::ipv6:
        if (starts_as_v4_mapped(bytes)) {
            return bytes[12] == 127;
        }
        return bytes[15] == 1 && std::all_of(bytes.begin(), bytes.end() - 1, is_zero);
    default:
        return false;
    }
}

bool endpoint::is_unspecified() const noexcept {
    const auto bytes = address();
    if (bytes.empty()) {
        return raw_family() == AF_UNSPEC;
    }
    return std::all_of(bytes.begin(), bytes.end(), is_zero);
}

std::string_view endpoint::format_to(std::span<char, text_size_max> buffer) const noexcept {
    static_assert(text_size_max >= unix_prefix.size() + 4 * path_size_max);
    text_writer out(buffer);
    switch (family()) {
    case address_family::ipv4:
        write_ipv4(out, address());
        out.put(':');
        out.put_number(port());
        break;
    case address_family::ipv6:
        out.put('[');
        write_ipv6(out, address());
        if (scope_id() != 0) {
            out.put('%');
            out.put_number(scope_id());
        }
        out.put("]:");
        out.put_number(port());
        break;
    case address_family::unix_domain:
        write_unix(out, unix_name(*this));
        break;
    case address_family::unspecified:
        if (raw_family() == AF_UNSPEC) {
            out.put(unspecified_text);
        } else {
            out.put("family ");
            out.put_number(static_cast<std::uint32_t>(raw_family()));
        }
        break;
    }
    return out.text();
}

std::string endpoint::to_string() const {
    std::array<char, text_size_max> buffer;
    return std::string(format_to(buffer));
}

bool operator==(const endpoint& left, const endpoint& right) noexcept {
    std::array<char, sizeof(sockaddr_in6)> left_scratch;
    std::array<char, sizeof(sockaddr_in6)> right_scratch;
    return identity(left, left_scratch) == identity(right, right_scratch);
}

} // namespace gyre::inline v0

std::size_t std::hash<gyre::endpoint>::operator()(const gyre::endpoint& value) const noexcept {
    std::array<char, sizeof(sockaddr_in6)> scratch;
    return std::hash<std::string_view>()(gyre::identity(value, scratch));
}
