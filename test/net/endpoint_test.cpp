#include <gyre/net/endpoint.hpp>

#include <gyre/error.hpp>

#include <doctest/doctest.h>

#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <ostream> // IWYU pragma: keep (doctest prints error codes through it)
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

namespace {

using gyre::address_family;
using gyre::endpoint;

static_assert(std::is_trivially_copyable_v<endpoint>);
static_assert(std::is_trivially_destructible_v<endpoint>);
static_assert(std::is_convertible_v<const char*, endpoint>);
static_assert(std::is_convertible_v<std::string, endpoint>);
static_assert(std::is_convertible_v<std::string_view, endpoint>);
static_assert(!std::is_convertible_v<int, endpoint>);

using random_engine = std::mt19937_64;

std::size_t up_to(random_engine& random, std::size_t last) {
    return std::uniform_int_distribution<std::size_t>(0, last)(random);
}

std::uint16_t random_port(random_engine& random) {
    return static_cast<std::uint16_t>(up_to(random, 65535));
}

// Half the groups are zero, so that runs of them come in every length and place.
endpoint random_ipv6(random_engine& random) {
    std::array<std::uint8_t, 16> address{};
    for (std::size_t group = 0; group < 8; ++group) {
        if (up_to(random, 1) == 0) {
            address[2 * group] = static_cast<std::uint8_t>(up_to(random, 1) * up_to(random, 255));
            address[2 * group + 1] = static_cast<std::uint8_t>(up_to(random, 255));
        }
    }
    if (up_to(random, 7) == 0) {
        std::fill_n(address.begin(), 10, std::uint8_t{0});
        std::fill_n(address.begin() + 10, 2, std::uint8_t{0xff});
    }
    const std::uint32_t scope_id =
        up_to(random, 1) == 0 ? 0 : static_cast<std::uint32_t>(up_to(random, 0xffff'ffff));
    endpoint made = endpoint::ipv6(address, random_port(random), scope_id);
    // As a kernel may fill it in: the flow label is no part of the text, nor of the comparison.
    const auto flow = static_cast<std::uint32_t>(up_to(random, 1));
    std::memcpy(
        static_cast<unsigned char*>(made.data()) + offsetof(sockaddr_in6, sin6_flowinfo),
        &flow,
        sizeof(flow)
    );
    return made;
}

// A Unix endpoint as the kernel would hand it over: `name` with its leading zero when abstract.
endpoint unix_endpoint(std::string_view name) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(name.begin(), name.end(), address.sun_path);
    std::size_t size = offsetof(sockaddr_un, sun_path) + name.size();
    if (!name.empty() && name.front() != '\0') {
        ++size; // The kernel counts the final zero of a path.
    }
    endpoint made;
    std::memcpy(made.data(), &address, sizeof(address));
    made.resize(size);
    return made;
}

endpoint random_unix(random_engine& random) {
    std::string name(up_to(random, sizeof(sockaddr_un::sun_path)), '\0');
    const bool is_abstract = up_to(random, 1) == 0;
    for (char& byte : name) {
        byte = static_cast<char>(is_abstract ? up_to(random, 255) : 1 + up_to(random, 254));
    }
    if (!name.empty()) {
        // '@' in front is where a path and an abstract name are easily mistaken.
        name.front() = is_abstract ? '\0' : up_to(random, 3) == 0 ? '@' : name.front();
    }
    return unix_endpoint(name);
}

endpoint random_endpoint(random_engine& random) {
    switch (up_to(random, 9)) {
    case 0:
        return {};
    case 1:
    case 2:
    case 3: {
        std::array<std::uint8_t, 4> address{};
        for (auto& byte : address) {
            byte = static_cast<std::uint8_t>(up_to(random, 255));
        }
        return endpoint::ipv4(address, random_port(random));
    }
    case 4:
    case 5:
    case 6:
        return random_ipv6(random);
    default:
        return random_unix(random);
    }
}

// Binds a Unix socket to `wanted` and yields what the kernel then calls it.
endpoint bound_name(const endpoint& wanted) {
    const int fd = ::socket(wanted.raw_family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0);
    const int bound = ::bind(
        fd, static_cast<const sockaddr*>(wanted.data()), static_cast<socklen_t>(wanted.size())
    );
    endpoint name;
    auto size = static_cast<socklen_t>(endpoint::capacity());
    const int named = ::getsockname(fd, static_cast<sockaddr*>(name.data()), &size);
    name.resize(size);
    ::close(fd);
    REQUIRE(bound == 0);
    REQUIRE(named == 0);
    return name;
}

std::string thrown_text(std::string_view text) {
    try {
        static_cast<void>(endpoint(text));
    } catch (const std::system_error& error) {
        return error.what();
    }
    return "nothing was thrown";
}

TEST_SUITE_BEGIN("net/endpoint");

TEST_CASE("an IPv4 endpoint is read from text") {
    const endpoint parsed("192.168.0.254:65535");

    CHECK(parsed.family() == address_family::ipv4);
    CHECK(parsed.raw_family() == AF_INET);
    CHECK(parsed.size() == sizeof(sockaddr_in));
    CHECK(parsed.port() == 65535);
    CHECK(parsed.scope_id() == 0);
    CHECK(parsed == endpoint::ipv4({192, 168, 0, 254}, 65535));
    sockaddr_in address{};
    std::memcpy(&address, parsed.data(), sizeof(address));
    CHECK(ntohl(address.sin_addr.s_addr) == 0xc0a800feU);
    CHECK(ntohs(address.sin_port) == 65535);
}

TEST_CASE("an IPv6 endpoint is read from text") {
    const endpoint parsed("[2001:DB8::1:0]:443");

    CHECK(parsed.family() == address_family::ipv6);
    CHECK(parsed.raw_family() == AF_INET6);
    CHECK(parsed.size() == sizeof(sockaddr_in6));
    CHECK(parsed.port() == 443);
    CHECK(
        parsed == endpoint::ipv6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0}, 443)
    );
    CHECK(parsed.address().size() == 16);
    CHECK(parsed.address()[0] == 0x20);
}

TEST_CASE("a scope is the number or the name of an interface") {
    const endpoint by_number("[fe80::1%4294967295]:80");
    const endpoint by_name("[fe80::1%lo]:80");

    CHECK(by_number.scope_id() == 4294967295U);
    CHECK(by_number.to_string() == "[fe80::1%4294967295]:80");
    CHECK(by_name.scope_id() == ::if_nametoindex("lo"));
    CHECK(by_name != endpoint("[fe80::1]:80"));
    CHECK(endpoint("[fe80::1%0]:80") == endpoint("[fe80::1]:80"));
}

TEST_CASE("a Unix path ends with a zero that the size counts, and an abstract name does not") {
    const endpoint path("unix:/run/echo.sock");
    const endpoint name("unix:@echo");

    CHECK(path.family() == address_family::unix_domain);
    CHECK(path.raw_family() == AF_UNIX);
    CHECK(path.size() == offsetof(sockaddr_un, sun_path) + 15);
    CHECK(path.port() == 0);
    CHECK(path.address().empty());
    CHECK(name.family() == address_family::unix_domain);
    CHECK(name.size() == offsetof(sockaddr_un, sun_path) + 5);
    CHECK(name == unix_endpoint(std::string_view("\0echo", 5)));
    CHECK(path != name);
    CHECK(endpoint("unix:echo") != endpoint("unix:@echo"));
}

TEST_CASE("text that is no endpoint is refused") {
    const std::pair<std::string_view, int> table[] = {
        {"", EINVAL},
        {":", EINVAL},
        {"80", EINVAL},
        {":80", EINVAL},
        {"localhost:80", EINVAL},
        {"127.0.0.1", EINVAL},
        {"127.0.0.1:", EINVAL},
        {"127.0.0.1:-1", EINVAL},
        {"127.0.0.1:+1", EINVAL},
        {"127.0.0.1:65536", EINVAL},
        {"127.0.0.1:99999999999999999999", EINVAL},
        {"127.0.0.1:080", EINVAL},
        {"127.0.0.1:00", EINVAL},
        {"127.0.0.1:0x50", EINVAL},
        {"127.0.0.1:80 ", EINVAL},
        {" 127.0.0.1:80", EINVAL},
        {"127.0.0.1 :80", EINVAL},
        {"127.0.0.1: 80", EINVAL},
        {"127.0.0.1:80\n", EINVAL},
        {"127.0.0.1:http", EINVAL},
        {"127.0.0.1:80:80", EINVAL},
        {"127.1:80", EINVAL},
        {"2130706433:80", EINVAL},
        {"127.0.0.01:80", EINVAL},
        {"0177.0.0.1:80", EINVAL},
        {"0x7f.0.0.1:80", EINVAL},
        {"127.0.0.256:80", EINVAL},
        {"127.0.0.1.1:80", EINVAL},
        {"127.0.0.:80", EINVAL},
        {"127..0.1:80", EINVAL},
        {"127.0.0.-1:80", EINVAL},
        {std::string_view("127.0.0.1\0:80", 13), EINVAL},
        {std::string_view("127.0.0.1:80\0", 13), EINVAL},
        {"::1:80", EINVAL},
        {"::1", EINVAL},
        {"[::1]", EINVAL},
        {"[::1]80", EINVAL},
        {"[::1]:", EINVAL},
        {"[::1]:65536", EINVAL},
        {"[::1]:+80", EINVAL},
        {"[::1]:80]", EINVAL},
        {"[::1:80", EINVAL},
        {"::1]:80", EINVAL},
        {"[[::1]]:80", EINVAL},
        {"[]:80", EINVAL},
        {"[", EINVAL},
        {"[]", EINVAL},
        {"[:]:80", EINVAL},
        {"[:::]:80", EINVAL},
        {"[1::2::3]:80", EINVAL},
        {"[1:2:3:4:5:6:7]:80", EINVAL},
        {"[1:2:3:4:5:6:7:8:9]:80", EINVAL},
        {"[12345::]:80", EINVAL},
        {"[g::]:80", EINVAL},
        {"[ ::1]:80", EINVAL},
        {"[::ffff:1.2.3]:80", EINVAL},
        {"[::ffff:1.2.3.04]:80", EINVAL},
        {"[127.0.0.1]:80", EINVAL},
        {std::string_view("[::1\0]:80", 9), EINVAL},
        {"[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb]:80", EINVAL},
        {"[fe80::1%]:80", EINVAL},
        {"[fe80::1%01]:80", EINVAL},
        {"[fe80::1%4294967296]:80", EINVAL},
        {std::string_view("[fe80::1%lo\0]:80", 16), EINVAL},
        {"[fe80::1%-1]:80", ENODEV},
        {"[fe80::1%gyre-no-such]:80", ENODEV},
        {"[fe80::1%an-interface-name-too-long-for-any]:80", ENODEV},
        {"127.0.0.1%lo:80", EINVAL},
        {"unspecified ", EINVAL},
        {"Unspecified", EINVAL},
        {"unspecified:80", EINVAL},
        {"family 40", EINVAL},
        {"unix", EINVAL},
        {"UNIX:/run/echo.sock", EINVAL},
        {" unix:/run/echo.sock", EINVAL},
        {"unix:/a\\", EINVAL},
        {"unix:/a\\x", EINVAL},
        {"unix:/a\\x4", EINVAL},
        {"unix:/a\\x4g", EINVAL},
        {"unix:/a\\xg4", EINVAL},
        {"unix:/a\\n", EINVAL},
        {"unix:/a\\\\", EINVAL},
        {"unix:/a\\X41", EINVAL},
        {"unix:/a\\x00b", EINVAL},
        {"unix:\\x00a", EINVAL},
        {std::string_view("unix:/a\0b", 9), EINVAL},
    };
    for (const auto& [text, expected] : table) {
        CAPTURE(text);

        const auto parsed = endpoint::parse(text);

        REQUIRE_FALSE(parsed);
        CHECK(parsed.error() == gyre::errno_code(expected));
        CHECK_THROWS_AS(static_cast<void>(endpoint(text)), std::system_error);
    }
}

TEST_CASE("a Unix name that does not fit is refused, never cut") {
    const std::string fits = "unix:" + std::string(108, 'a');
    const std::string abstract_fits = "unix:@" + std::string(107, 'a');
    std::string escaped_fits = "unix:@";
    for (int count = 0; count < 107; ++count) {
        escaped_fits += "\\x00";
    }

    for (const auto& text : {fits, abstract_fits, escaped_fits}) {
        CAPTURE(text);
        const auto parsed = endpoint::parse(text);
        const auto longer = endpoint::parse(text + 'a');
        const auto much_longer = endpoint::parse(text + std::string(1'000'000, 'a'));

        REQUIRE(parsed);
        CHECK(parsed->size() == sizeof(sockaddr_un));
        CHECK(parsed->to_string() == text);
        CHECK(longer.error() == gyre::errno_code(ENAMETOOLONG));
        CHECK(much_longer.error() == gyre::errno_code(ENAMETOOLONG));
    }
    CHECK(endpoint::parse(fits + "\\x0").error() == gyre::errno_code(EINVAL));
}

TEST_CASE("a text that is refused is named, with what to write instead") {
    CHECK(
        thrown_text("1.2.3") ==
        "endpoint \"1.2.3\": EINVAL: write IPv4 as 127.0.0.1:7000, IPv6 as [::1]:7000"
    );
    CHECK(
        thrown_text("[fe80::1%gyre-no-such]:80") ==
        "endpoint \"[fe80::1%gyre-no-such]:80\": ENODEV: no network interface has the name behind "
        "the %"
    );
    CHECK(thrown_text("unix:\\").starts_with("endpoint \"unix:\\x5c\": EINVAL: write a path as "));
    CHECK(
        thrown_text("unix:" + std::string(109, 'a')).find("a...\": ENAMETOOLONG: ") !=
        std::string::npos
    );
    CHECK(thrown_text("\x1b[2J").starts_with("endpoint \"\\x1b[2J\": EINVAL: "));
}

TEST_CASE("IPv6 is written as in RFC 5952") {
    const std::pair<std::string_view, std::string_view> table[] = {
        {"[::]:0", "[::]:0"},
        {"[0:0:0:0:0:0:0:1]:1", "[::1]:1"},
        {"[1:0:0:0:0:0:0:0]:1", "[1::]:1"},
        {"[2001:0DB8:0000:0000:0001:0000:0000:0001]:1", "[2001:db8::1:0:0:1]:1"},
        {"[2001:db8:0:1:1:1:1:1]:1", "[2001:db8:0:1:1:1:1:1]:1"},
        {"[2001:db8::1:1:1:1:1]:1", "[2001:db8:0:1:1:1:1:1]:1"},
        {"[2001:0:0:1:0:0:0:1]:1", "[2001:0:0:1::1]:1"},
        {"[1:2:3:4:5:6:7::]:1", "[1:2:3:4:5:6:7:0]:1"},
        {"[::2:3:4:5:6:7:8]:1", "[0:2:3:4:5:6:7:8]:1"},
        {"[1:2:3:4:5:6:0:0]:1", "[1:2:3:4:5:6::]:1"},
        {"[::ffff:1.2.3.4]:80", "[::ffff:1.2.3.4]:80"},
        {"[::ffff:102:304]:80", "[::ffff:1.2.3.4]:80"},
        {"[::1.2.3.4]:80", "[::102:304]:80"},
        {"[64:ff9b::1.2.3.4]:80", "[64:ff9b::102:304]:80"},
        {"[FE80::ABCD%3]:65535", "[fe80::abcd%3]:65535"},
    };
    for (const auto& [text, expected] : table) {
        CAPTURE(text);

        CHECK(endpoint(text).to_string() == expected);
    }
}

TEST_CASE("a Unix name is written back, with what is not printable escaped") {
    CHECK(endpoint("unix:/run/echo.sock").to_string() == "unix:/run/echo.sock");
    CHECK(endpoint("unix:relative name").to_string() == "unix:relative name");
    CHECK(endpoint("unix:@a\\x00\\x41\\xFF").to_string() == "unix:@a\\x00A\\xff");
    CHECK(
        endpoint("unix:/a\x7f\n\xc3\xa9\\x5cx41").to_string() ==
        "unix:/a\\x7f\\x0a\\xc3\\xa9\\x5cx41"
    );
    CHECK(endpoint("unix:@").to_string() == "unix:@");
    CHECK(endpoint("unix:").to_string() == "unix:");
    CHECK(unix_endpoint("@a@").to_string() == "unix:\\x40a@");
}

TEST_CASE("the default endpoint names nothing") {
    const endpoint none;

    CHECK(none.family() == address_family::unspecified);
    CHECK(none.raw_family() == AF_UNSPEC);
    CHECK(none.size() == 0);
    CHECK(none.port() == 0);
    CHECK(none.address().empty());
    CHECK(none.is_unspecified());
    CHECK(none.to_string() == "unspecified");
    CHECK(none == endpoint("unspecified"));
    CHECK(none != endpoint::any_v4(0));
}

TEST_CASE("makers name the addresses they are called after") {
    CHECK(endpoint::loopback_v4(7000).to_string() == "127.0.0.1:7000");
    CHECK(endpoint::loopback_v6(7000).to_string() == "[::1]:7000");
    CHECK(endpoint::any_v4(0).to_string() == "0.0.0.0:0");
    CHECK(endpoint::any_v6(65535).to_string() == "[::]:65535");
}

TEST_CASE("is_loopback and is_unspecified know every form of either") {
    for (const std::string_view text :
         {"127.0.0.1:1", "127.255.255.254:1", "[::1]:1", "[::1%1]:1", "[::ffff:127.0.0.1]:1"}) {
        CAPTURE(text);
        CHECK(endpoint(text).is_loopback());
        CHECK_FALSE(endpoint(text).is_unspecified());
    }
    for (const std::string_view text :
         {"128.0.0.1:1", "[::2]:1", "[1::1]:1", "[::101]:1", "[::ffff:1.0.0.127]:1", "unix:@a"}) {
        CAPTURE(text);
        CHECK_FALSE(endpoint(text).is_loopback());
        CHECK_FALSE(endpoint(text).is_unspecified());
    }
    for (const std::string_view text : {"0.0.0.0:1", "[::]:1", "unspecified"}) {
        CAPTURE(text);
        CHECK_FALSE(endpoint(text).is_loopback());
        CHECK(endpoint(text).is_unspecified());
    }
}

TEST_CASE("with_port changes the port and nothing else") {
    CHECK(endpoint("1.2.3.4:1").with_port(65535) == endpoint("1.2.3.4:65535"));
    CHECK(endpoint("[fe80::1%3]:1").with_port(0) == endpoint("[fe80::1%3]:0"));
}

TEST_CASE("endpoints are equal when they name the same place") {
    const std::vector<endpoint> different = {
        endpoint(),
        endpoint("1.2.3.4:5"),
        endpoint("1.2.3.4:6"),
        endpoint("1.2.3.5:5"),
        endpoint("[::ffff:1.2.3.4]:5"),
        endpoint("[fe80::1]:5"),
        endpoint("[fe80::1%1]:5"),
        endpoint("[fe80::1%1]:6"),
        endpoint("[fe80::2%1]:5"),
        endpoint("unix:"),
        endpoint("unix:@"),
        endpoint("unix:@\\x00"),
        endpoint("unix:@a"),
        endpoint("unix:a"),
        endpoint("unix:ab"),
    };
    std::unordered_set<endpoint> set;

    for (std::size_t left = 0; left < different.size(); ++left) {
        set.insert(different[left]);
        set.insert(different[left]);
        for (std::size_t right = 0; right < different.size(); ++right) {
            CAPTURE(different[left].to_string());
            CAPTURE(different[right].to_string());
            CHECK((different[left] == different[right]) == (left == right));
        }
    }

    CHECK(set.size() == different.size());
}

TEST_CASE("what the kernel leaves in padding and behind a path does not count") {
    endpoint padded("1.2.3.4:5");
    std::memset(static_cast<unsigned char*>(padded.data()) + 8, 0xaa, 8);
    endpoint labelled("[::1]:5");
    std::memset(static_cast<unsigned char*>(labelled.data()) + 4, 0xaa, 4);
    endpoint longer("unix:/a");
    std::memset(static_cast<unsigned char*>(longer.data()) + longer.size(), 0xaa, 4);
    longer.resize(longer.size() + 4);

    CHECK(padded == endpoint("1.2.3.4:5"));
    CHECK(labelled == endpoint("[::1]:5"));
    CHECK(longer == endpoint("unix:/a"));
    CHECK(std::hash<endpoint>()(padded) == std::hash<endpoint>()(endpoint("1.2.3.4:5")));
    CHECK(std::hash<endpoint>()(labelled) == std::hash<endpoint>()(endpoint("[::1]:5")));
    CHECK(std::hash<endpoint>()(longer) == std::hash<endpoint>()(endpoint("unix:/a")));
}

TEST_CASE("an address shorter than its family's is none") {
    for (const std::string_view text : {"1.2.3.4:5", "[::1]:5"}) {
        CAPTURE(text);
        endpoint cut(text);
        cut.resize(cut.size() - 1);

        CHECK(cut.family() == address_family::unspecified);
        CHECK(cut.raw_family() != AF_UNSPEC);
        CHECK(cut.port() == 0);
        CHECK(cut.address().empty());
        CHECK(cut.to_string().starts_with("family "));
    }
}

TEST_CASE("resize clips to the capacity") {
    endpoint any("unix:/a");

    any.resize(1'000'000);

    CHECK(any.size() == endpoint::capacity());
    CHECK(any == endpoint("unix:/a"));
}

TEST_CASE("a family that gyre has no words for is kept as it is") {
    endpoint foreign;
    const sa_family_t family = AF_VSOCK;
    std::memcpy(foreign.data(), &family, sizeof(family));
    foreign.resize(16);

    CHECK(foreign.family() == address_family::unspecified);
    CHECK(foreign.raw_family() == AF_VSOCK);
    CHECK(foreign.to_string() == "family " + std::to_string(AF_VSOCK));
    CHECK_FALSE(foreign.is_unspecified());
    CHECK(foreign == endpoint(foreign));
    CHECK(foreign != endpoint());
}

TEST_CASE("the kernel's name of a bound Unix socket equals the endpoint it was bound to") {
    std::string directory = "/tmp/gyre-endpoint-XXXXXX";
    REQUIRE(::mkdtemp(directory.data()) != nullptr);
    const std::string prefix = directory + "/";
    // The longest path leaves no room for its final zero, which the kernel counts all the same.
    const std::vector<std::string> paths = {
        prefix + "a",
        prefix + std::string(107 - prefix.size(), 'b'),
        prefix + std::string(108 - prefix.size(), 'c'),
    };
    for (const auto& path : paths) {
        CAPTURE(path);
        const endpoint wanted("unix:" + path);

        const endpoint name = bound_name(wanted);

        CHECK(::unlink(path.c_str()) == 0);
        CHECK(name == wanted);
        CHECK(name.size() == wanted.size()); // So that it can be bound or connected to again.
        CHECK(name.to_string() == "unix:" + path);
    }
    CHECK(::rmdir(directory.c_str()) == 0);
    const endpoint abstract_name("unix:@gyre\\x00endpoint-test-" + std::to_string(::getpid()));
    CHECK(bound_name(abstract_name) == abstract_name);
}

TEST_CASE("every endpoint survives the way to text and back") {
    random_engine random(20'240'229);
    for (int round = 0; round < 100'000; ++round) {
        const endpoint original = random_endpoint(random);
        const std::string text = original.to_string();

        const auto parsed = endpoint::parse(text);

        // Checked by hand first: a hundred thousand CHECKs would take most of the time.
        if (!parsed || !(*parsed == original) || parsed->to_string() != text) {
            CAPTURE(round);
            CAPTURE(text);
            REQUIRE(parsed);
            CHECK(*parsed == original);
            CHECK(parsed->to_string() == text);
        }
    }
}

TEST_CASE("no text that was damaged at random breaks the parser") {
    random_engine random(7);
    constexpr std::string_view bytes = "0123456789abcdefx:.[]%@\\/ +-\0\xff";
    for (int round = 0; round < 100'000; ++round) {
        std::string text = random_endpoint(random).to_string();
        for (std::size_t count = 1 + up_to(random, 2); count > 0; --count) {
            const std::size_t place = up_to(random, text.size());
            const char byte = bytes[up_to(random, bytes.size() - 1)];
            switch (up_to(random, 2)) {
            case 0:
                text.insert(place, 1, byte);
                break;
            case 1:
                text.erase(place, 1);
                break;
            default:
                text.resize(place);
                break;
            }
        }

        const auto parsed = endpoint::parse(text);

        // Whatever is accepted means one thing, and says so.
        if (parsed && !(endpoint(parsed->to_string()) == *parsed)) {
            CAPTURE(text);
            CHECK(parsed->to_string() == "the same endpoint");
        }
    }
}

TEST_SUITE_END();

} // namespace
