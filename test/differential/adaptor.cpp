#include "differential/adaptor.hpp"

#include <gyre/net/recv_exactly.hpp>
#include <gyre/net/send_all.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/task/task.hpp>

#include "differential/outcome.hpp"
#include "differential/random.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <sys/socket.h>

namespace differential {

namespace {

// In three pieces; the second may be empty.
template <class Buffer, class Bytes>
std::array<Buffer, 3> divided(Bytes bytes, std::uint32_t pieces) {
    const std::size_t first = pieces % (bytes.size() + 1);
    const std::size_t second = (pieces / 7) % (bytes.size() - first + 1);
    return {
        Buffer(bytes.first(first)),
        Buffer(bytes.subspan(first, second)),
        Buffer(bytes.subspan(first + second)),
    };
}

// One long random text that every direction repeats from a place of its own. Its length is a prime,
// so that a loss of what programs move at a time never falls on the same bytes again.
constexpr std::size_t pattern_size = 65521;

std::span<const std::byte> pattern(std::uint64_t key, std::uint64_t position) {
    static const std::vector<std::byte> text = [] {
        std::vector<std::byte> made(pattern_size);
        random from(0);
        for (std::byte& each : made) {
            each = static_cast<std::byte>(from.next() >> 56);
        }
        return made;
    }();
    return std::span(text).subspan((key % pattern_size + position) % pattern_size);
}

} // namespace

const char* name_of(wrap which) noexcept {
    constexpr std::array<const char*, 8> names = {
        "",
        "with_timeout(1h)",
        "with_timeout(0)",
        "with_timeout(soon)",
        "idle",
        "shielded",
        "when_any(it, sleep(1h))",
        "when_any(sleep(soon), it)",
    };
    return names[static_cast<std::size_t>(which)];
}

gyre::task<seen> receive(
    gyre::stream& from,
    verb what,
    std::span<std::byte> buffer,
    std::uint32_t pieces,
    wrap how,
    std::chrono::nanoseconds soon
) {
    seen got;
    if (what == verb::recv_exactly) {
        got = co_await awaited(how, gyre::recv_exactly(from, buffer), buffer.size(), soon);
    } else if (what == verb::recv_scatter || what == verb::recv_scatter_all) {
        const auto list = divided<gyre::mutable_buffer>(buffer, pieces);
        const std::span<const gyre::mutable_buffer> all(list);
        const int flags = what == verb::recv_scatter_all ? MSG_WAITALL : 0;
        got = co_await awaited(how, from.recv(all, flags), buffer.size(), soon);
    } else {
        const int flags = what == verb::recv_peek       ? MSG_PEEK
                          : what == verb::recv_waitall  ? MSG_WAITALL
                          : what == verb::recv_dontwait ? MSG_DONTWAIT
                                                        : 0;
        got = co_await awaited(how, from.recv(buffer, flags), buffer.size(), soon);
    }
    co_return got;
}

gyre::task<seen> send(
    gyre::stream& to,
    verb what,
    std::span<const std::byte> bytes,
    std::uint32_t pieces,
    wrap how,
    std::chrono::nanoseconds soon
) {
    seen got;
    if (what == verb::send_all) {
        got = co_await awaited(how, gyre::send_all(to, bytes), bytes.size(), soon);
    } else if (what == verb::send_gather || what == verb::send_gather_all) {
        const auto list = divided<gyre::const_buffer>(bytes, pieces);
        const std::span<const gyre::const_buffer> all(list);
        const int flags = what == verb::send_gather_all ? MSG_WAITALL : 0;
        got = co_await awaited(how, to.send(all, flags), bytes.size(), soon);
    } else {
        const int flags = what == verb::send_dontwait ? MSG_DONTWAIT : 0;
        got = co_await awaited(how, to.send(bytes, flags), bytes.size(), soon);
    }
    co_return got;
}

void fill(std::span<std::byte> bytes, std::uint64_t key, std::uint64_t position) noexcept {
    while (!bytes.empty()) {
        const std::span<const std::byte> next = pattern(key, position);
        const std::size_t count = std::min(next.size(), bytes.size());
        std::memcpy(bytes.data(), next.data(), count);
        bytes = bytes.subspan(count);
        position += count;
    }
}

std::int64_t
first_wrong(std::span<const std::byte> bytes, std::uint64_t key, std::uint64_t position) noexcept {
    for (std::size_t done = 0; done < bytes.size();) {
        const std::span<const std::byte> next = pattern(key, position + done);
        const std::size_t count = std::min(next.size(), bytes.size() - done);
        if (std::memcmp(bytes.data() + done, next.data(), count) != 0) {
            const auto differs = std::mismatch(
                next.begin(),
                next.begin() + static_cast<std::ptrdiff_t>(count),
                bytes.begin() + static_cast<std::ptrdiff_t>(done)
            );
            return static_cast<std::int64_t>(done) + (differs.first - next.begin());
        }
        done += count;
    }
    return -1;
}

} // namespace differential
