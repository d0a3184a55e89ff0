// unix_pass_fd_session.hpp: what the two programs of unix_pass_fd say to each other.
//
// For each file the sender sends its name and a final zero, with the open descriptor beside it. The
// receiver answers with one byte once it has read the file.
#pragma once

#include <gyre/error.hpp>
#include <gyre/net/ancillary.hpp>
#include <gyre/net/credentials.hpp>
#include <gyre/net/owned_descriptor.hpp>
#include <gyre/net/recv_exactly.hpp>
#include <gyre/net/send_all.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/net/stream_message.hpp>
#include <gyre/op.hpp>
#include <gyre/result.hpp>
#include <gyre/task/or_return.hpp>
#include <gyre/task/task.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace samples {

inline constexpr std::size_t name_size_max = 4096; // With its zero.

/// Hands `file` over under the name `name`, and waits until the receiver has read it.
inline gyre::task<gyre::result<void>>
send_file(gyre::stream& peer, std::string name, const gyre::owned_descriptor& file) {
    const std::span<const char> with_zero(name.c_str(), name.size() + 1);
    if (with_zero.size() > name_size_max) {
        co_return gyre::errno_code(ENAMETOOLONG);
    }
    gyre::control_message<> beside;
    const int number = file.native_handle();
    const auto added = beside.add_descriptors(std::span(&number, 1));
    if (!added) {
        co_return added.error();
    }
    // The descriptor goes with the first byte; what of the name did not fit follows.
    const std::span<const std::byte> text = std::as_bytes(with_zero);
    const std::size_t sent = co_await gyre::or_return(peer.sendmsg(text, beside));
    co_await gyre::or_return(gyre::send_all(peer, text.subspan(sent)));
    std::array<std::byte, 1> answer;
    co_await gyre::or_return(gyre::recv_exactly(peer, answer));
    co_return gyre::result<void>();
}

/// How many bytes `file` has from its position on.
inline gyre::task<gyre::result<std::uint64_t>> read_to_end(const gyre::owned_descriptor& file) {
    std::vector<std::byte> buffer(65536);
    std::uint64_t size = 0;
    for (;;) {
        const std::size_t count =
            co_await gyre::or_return(gyre::op::read(file.native_handle(), buffer));
        if (count == 0) {
            co_return size;
        }
        size += count;
    }
}

/// A file that came over, as `receive_files` reports it.
struct passed_file {
    passed_file(std::string called, std::uint64_t bytes, std::uint32_t user)
        : name(std::move(called)), size(bytes), user_id(user) {}
    std::string name;
    std::uint64_t size;
    std::uint32_t user_id; ///< Whose process has sent it.
};

/// Receives files until the sender's end and calls `report(passed_file)` for each.
template <class Report>
gyre::task<gyre::result<void>> receive_files(gyre::stream peer, Report report) {
    const auto sender = gyre::peer_credentials(peer);
    if (!sender) {
        co_return sender.error();
    }
    std::vector<std::byte> text(name_size_max);
    for (;;) {
        std::size_t size = 0;
        gyre::owned_descriptor file;
        // One descriptor and no more: what else a peer sends is closed.
        gyre::control_buffer<gyre::descriptor_room(1)> beside;
        do {
            const std::size_t count =
                co_await gyre::or_return(peer.recvmsg(std::span(text).subspan(size), beside));
            if (count == 0 && size == 0) {
                co_return gyre::result<void>();
            }
            if (beside.descriptor_count() != 0) {
                file = beside.take_descriptor();
            }
            size += count;
            if (count == 0 || !file.is_open() || beside.truncated() || size == text.size()) {
                co_return gyre::errno_code(EPROTO);
            }
        } while (text[size - 1] != std::byte{0});
        const std::uint64_t bytes = co_await gyre::or_return(read_to_end(file));
        std::string name(reinterpret_cast<const char*>(text.data()), size - 1);
        for (char& character : name) { // It goes to a terminal.
            if (character < ' ' || character > '~') {
                character = '?';
            }
        }
        report(passed_file(std::move(name), bytes, sender->user_id));
        co_await gyre::or_return(gyre::send_all(peer, std::span(text).first(1)));
    }
}

} // namespace samples
