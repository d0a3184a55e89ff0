#pragma once

#include <gyre/net/stream.hpp>
#include <gyre/net/transfer.hpp>
#include <gyre/result.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

namespace differential {

/// The rows of the table.
enum class verb : std::uint8_t {
    recv,
    recv_peek,
    recv_waitall,
    recv_dontwait,
    recv_scatter,
    recv_scatter_all, ///< With MSG_WAITALL.
    recv_exactly,
    send,
    send_gather,
    send_dontwait,
    send_gather_all, ///< With MSG_WAITALL.
    send_all,
    accept,
    connect,
    shutdown,
    close,
    finish,
    read,
    write,
    poll,
    sleep,
};
constexpr std::size_t verb_count = 21;

constexpr bool sends(verb what) noexcept {
    return what >= verb::send && what <= verb::send_all;
}
/// Receives that wait for the last byte.
constexpr bool receives_all(verb what) noexcept {
    return what == verb::recv_waitall || what == verb::recv_scatter_all ||
           what == verb::recv_exactly;
}

/// The columns: how an operation can end.
enum class ending : std::uint8_t {
    full, ///< All that was asked for; a success without a count.
    part, ///< Fewer bytes than asked for.
    end,  ///< A receive of 0.
    again,
    canceled,
    timed_out,
    stopped,
    end_of_stream,
    reset,
    pipe,
    refused,
    not_connected,
    other, ///< Never expected.
};
constexpr std::size_t ending_count = 13;

const char* name_of(verb which) noexcept;
const char* name_of(ending which) noexcept;

/// What an operation yielded.
struct seen {
    seen() noexcept = default;
    seen(ending how_it_ended, std::int64_t count, int code = 0) noexcept
        : how(how_it_ended), error(code), bytes(count) {}

    ending how = ending::other;
    int error = 0;          ///< The errno of `ending::other`, or gyre's own code.
    std::int64_t bytes = 0; ///< That moved, also if an error followed them; the events of a poll.
    std::optional<gyre::stream> socket;
};

ending ending_of(std::error_code error) noexcept;

// `asked`: for how many bytes.
seen look_at(const gyre::result<std::size_t>& got, std::size_t asked) noexcept;
seen look_at(const gyre::transfer& got, std::size_t asked) noexcept;
seen look_at(gyre::result<gyre::stream>&& got, std::size_t asked) noexcept;
seen look_at(const gyre::result<int>& got, std::size_t asked) noexcept;
seen look_at(const gyre::result<void>& got, std::size_t asked) noexcept;

/// How often each operation ended how.
class tally {
public:
    void count(verb what, ending how) noexcept {
        ++cells_[static_cast<std::size_t>(what)][static_cast<std::size_t>(how)];
    }
    std::uint64_t of(verb what, ending how) const noexcept {
        return cells_[static_cast<std::size_t>(what)][static_cast<std::size_t>(how)];
    }
    void add(const tally& other) noexcept;
    /// Rows of operations, columns of endings; empty ones are left out.
    std::string text() const;

private:
    std::array<std::array<std::uint64_t, ending_count>, verb_count> cells_ = {};
};

} // namespace differential
