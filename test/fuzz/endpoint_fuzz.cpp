// Any bytes as the text of an endpoint, as an address from the kernel, and as a Unix name: what can
// be written can be read back, and is the same.

#include <gyre/error.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/result.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

namespace {

void expect(bool holds) {
    if (!holds) {
        std::abort();
    }
}

// What is equal is so both ways, has the same hash and the same text.
void expect_same(const gyre::endpoint& one, const gyre::endpoint& other) {
    expect(one == other && other == one);
    expect(std::hash<gyre::endpoint>()(one) == std::hash<gyre::endpoint>()(other));
    expect(one.to_string() == other.to_string());
}

// The text form is printable and bounded, and says the same endpoint.
void expect_round_trip(const gyre::endpoint& whole) {
    std::array<char, gyre::endpoint::text_size_max> buffer;
    const std::string_view text = whole.format_to(buffer);
    expect(text.size() <= buffer.size());
    expect(std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; }));
    const gyre::result<gyre::endpoint> read = gyre::endpoint::parse(text);
    if (whole.family() == gyre::address_family::unspecified && whole.raw_family() != 0) {
        expect(!read && text.starts_with("family "));
        return;
    }
    expect(read.has_value());
    expect_same(*read, whole);
}

void read_text(std::string_view text) {
    const gyre::result<gyre::endpoint> read = gyre::endpoint::parse(text);
    if (read) {
        expect(read->size() <= gyre::endpoint::capacity());
        expect_round_trip(*read);
        return;
    }
    const int error = read.error().value();
    expect(error == EINVAL || error == ENAMETOOLONG || error == ENODEV);
}

void read_address(std::string_view bytes) {
    gyre::endpoint whole;
    std::memcpy(whole.data(), bytes.data(), std::min(bytes.size(), gyre::endpoint::capacity()));
    whole.resize(bytes.size());
    expect(whole.size() <= gyre::endpoint::capacity());
    static_cast<void>(whole.port());
    static_cast<void>(whole.scope_id());
    static_cast<void>(whole.is_loopback());
    static_cast<void>(whole.is_unspecified());
    expect(whole.address().size() <= 16);
    expect_round_trip(whole);
}

void read_name(std::string_view name) {
    const auto path = gyre::endpoint::unix_path(name);
    const bool is_path = !name.empty() && name.find('\0') == name.npos;
    expect(path.has_value() == (is_path && name.size() <= 108));
    if (path) {
        expect_round_trip(*path);
    } else {
        expect(path.error() == gyre::errno_code(is_path ? ENAMETOOLONG : EINVAL));
    }
    const auto abstract = gyre::endpoint::unix_abstract(name);
    expect(abstract.has_value() == (name.size() <= 107));
    if (abstract) {
        expect_round_trip(*abstract);
        expect(!path || !(*path == *abstract));
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
    switch (data[0] % 4) {
    case 0:
        read_text(rest);
        break;
    case 1:
        read_address(rest);
        break;
    case 2:
        read_name(rest);
        break;
    default:
        read_text("unix:" + std::string(rest));
        break;
    }
    return 0;
}
