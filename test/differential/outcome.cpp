#include "differential/outcome.hpp"

#include <gyre/error.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/net/transfer.hpp>
#include <gyre/result.hpp>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <string>
#include <system_error>
#include <utility>

namespace differential {

namespace {

constexpr std::array<const char*, verb_count> verb_names = {
    "recv",         "recv peek", "recv waitall", "recv dontwait", "recv scatter", "scatter all",
    "recv_exactly", "send",      "send gather",  "send dontwait", "gather all",   "send_all",
    "accept",       "connect",   "shutdown",     "close",         "finish",       "op::read",
    "op::write",    "op::poll",  "sleep",
};

constexpr std::array<const char*, ending_count> ending_names = {
    "full",
    "part",
    "0",
    "EAGAIN",
    "ECANCELED",
    "timed_out",
    "stopped",
    "end_of_stream",
    "ECONNRESET",
    "EPIPE",
    "ECONNREFUSED",
    "ENOTCONN",
    "other",
};

} // namespace

const char* name_of(verb which) noexcept {
    return verb_names[static_cast<std::size_t>(which)];
}
const char* name_of(ending which) noexcept {
    return ending_names[static_cast<std::size_t>(which)];
}

ending ending_of(std::error_code error) noexcept {
    if (error == gyre::errc::timed_out) {
        return ending::timed_out;
    }
    if (error == gyre::errc::stopped) {
        return ending::stopped;
    }
    if (error == gyre::errc::end_of_stream) {
        return ending::end_of_stream;
    }
    if (error.category() != std::system_category()) {
        return ending::other;
    }
    switch (error.value()) {
    case EAGAIN:
        return ending::again;
    case ECANCELED:
        return ending::canceled;
    case ECONNRESET:
        return ending::reset;
    case EPIPE:
        return ending::pipe;
    case ECONNREFUSED:
        return ending::refused;
    case ENOTCONN:
        return ending::not_connected;
    default:
        return ending::other;
    }
}

seen look_at(const gyre::result<std::size_t>& got, std::size_t asked) noexcept {
    if (!got) {
        return {ending_of(got.error()), 0, got.error().value()};
    }
    const ending how = *got == 0 ? ending::end : *got < asked ? ending::part : ending::full;
    return {*got > asked ? ending::other : how, static_cast<std::int64_t>(*got)};
}

seen look_at(const gyre::transfer& got, std::size_t asked) noexcept {
    const auto bytes = static_cast<std::int64_t>(got.bytes());
    if (!got) {
        return {ending_of(got.error()), bytes, got.error().value()};
    }
    return {got.bytes() == asked ? ending::full : ending::other, bytes};
}

seen look_at(gyre::result<gyre::stream>&& got, std::size_t) noexcept {
    if (!got) {
        return {ending_of(got.error()), 0, got.error().value()};
    }
    seen one(ending::full, 0);
    one.socket.emplace(std::move(*got));
    return one;
}

seen look_at(const gyre::result<int>& got, std::size_t) noexcept {
    if (!got) {
        return {ending_of(got.error()), 0, got.error().value()};
    }
    return {ending::full, *got};
}

seen look_at(const gyre::result<void>& got, std::size_t) noexcept {
    if (!got) {
        return {ending_of(got.error()), 0, got.error().value()};
    }
    return {ending::full, 0};
}

void tally::add(const tally& other) noexcept {
    for (std::size_t row = 0; row < verb_count; ++row) {
        for (std::size_t column = 0; column < ending_count; ++column) {
            cells_[row][column] += other.cells_[row][column];
        }
    }
}

std::string tally::text() const {
    char piece[32];
    std::array<bool, ending_count> used = {};
    for (const auto& row : cells_) {
        for (std::size_t column = 0; column < ending_count; ++column) {
            used[column] = used[column] || row[column] != 0;
        }
    }
    std::string text = "               ";
    for (std::size_t column = 0; column < ending_count; ++column) {
        if (used[column]) {
            std::snprintf(piece, sizeof piece, " %13s", ending_names[column]);
            text += piece;
        }
    }
    for (std::size_t row = 0; row < verb_count; ++row) {
        std::string line;
        bool any = false;
        for (std::size_t column = 0; column < ending_count; ++column) {
            if (!used[column]) {
                continue;
            }
            const auto count = static_cast<unsigned long long>(cells_[row][column]);
            any = any || count != 0;
            std::snprintf(piece, sizeof piece, count != 0 ? " %13llu" : "             .", count);
            line += piece;
        }
        if (any) {
            std::snprintf(piece, sizeof piece, "\n%-15s", verb_names[row]);
            text += piece + line;
        }
    }
    return text + "\n";
}

} // namespace differential
