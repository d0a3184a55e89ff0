#include <gyre/net/batch.hpp>

#include <gyre/detail/assert.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/net/message.hpp>
#include <gyre/net/recvfrom.hpp>
#include <gyre/net/sendto.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/ring/domain.hpp>
#include <gyre/scheduler/run_loop.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

namespace gyre::inline v0 {

namespace {

// What one system call takes; its headers are on the stack.
constexpr std::size_t at_once_max = 32;

constexpr const char* one_at_a_time =
    "one operation per direction and descriptor: await the first before the second";

} // namespace

// Sends what fits by calls that do not wait, many messages each. What waits for room is a send of
// the next message alone, as any other waits; then it goes on.

bool send_batch_operation::begin(detail::run_loop& loop, std::int32_t& result) noexcept {
    GYRE_ASSERT_ALWAYS(*in_flight() == 0, one_at_a_time);
    message_send::begin(loop, result);
    const bool waits = !send_what_fits();
    result = error_;
    return waits;
}

bool send_batch_operation::again(std::int32_t result) noexcept {
    if (message_send::again(result)) {
        return true;
    }
    if (result < 0) {
        return false;
    }
    ++sent_;
    return !send_what_fits();
}

batch send_batch_operation::take(std::int32_t result) const noexcept {
    const std::int32_t error = error_ != 0 ? error_ : std::min(result, 0);
    return error == 0 ? batch(sent_) : batch(sent_, detail::error_of(error));
}

// False if the next message has to wait.
bool send_batch_operation::send_what_fits() noexcept {
    while (sent_ < messages_.size()) {
        const auto next =
            messages_.subspan(sent_).first(std::min(messages_.size() - sent_, at_once_max));
        std::array<detail::counted_message, at_once_max> headers;
        std::array<const_buffer, at_once_max> pieces;
        for (std::size_t index = 0; index < next.size(); ++index) {
            const outgoing_message& message = next[index];
            detail::message_header& header = headers[index].header;
            pieces[index] = message.bytes.first(detail::clamp_length(message.bytes.size()));
            header.buffers = &pieces[index];
            header.buffer_count = 1;
            if (message.to != nullptr) {
                header.name = const_cast<void*>(message.to->data());
                header.name_size = static_cast<std::uint32_t>(message.to->size());
            }
        }
        const int answer = home_->send_messages_now(
            fd(), headers.data(), static_cast<unsigned>(next.size()), flags()
        );
        if (answer == -EAGAIN && (flags() & detail::message_dontwait) == 0) {
            reassign(next[0].bytes, next[0].to);
            return false;
        }
        if (answer < 0) {
            error_ = answer;
            return true;
        }
        sent_ += static_cast<std::size_t>(answer);
    }
    return true;
}

// Receives what is there by calls that do not wait. If that is nothing, what waits is a receive of
// the first message alone; then it takes what has come meanwhile.

bool recv_batch_operation::begin(detail::run_loop& loop, std::int32_t& result) noexcept {
    GYRE_ASSERT_ALWAYS(*in_flight() == 0, one_at_a_time);
    message_receive::begin(loop, result);
    receive_what_is_there();
    if (received_ == 0 && error_ == -EAGAIN && (flags() & detail::message_dontwait) == 0) {
        error_ = 0;
        return true;
    }
    result = received_ != 0 ? 0 : error_;
    return false;
}

bool recv_batch_operation::again(std::int32_t result) noexcept {
    if (message_receive::again(result)) {
        return true;
    }
    if (result >= 0) {
        messages_[0].size = *message_receive::take(result);
        received_ = 1;
        receive_what_is_there();
    }
    return false;
}

batch recv_batch_operation::take(std::int32_t result) const noexcept {
    if (received_ == 0) {
        return batch(0, detail::error_of(result));
    }
    // That there is no more yet is no error.
    return error_ == 0 || error_ == -EAGAIN ? batch(received_)
                                            : batch(received_, detail::error_of(error_));
}

void recv_batch_operation::receive_what_is_there() noexcept {
    while (received_ < messages_.size()) {
        const auto next =
            messages_.subspan(received_).first(std::min(messages_.size() - received_, at_once_max));
        std::array<detail::counted_message, at_once_max> headers;
        std::array<mutable_buffer, at_once_max> pieces;
        for (std::size_t index = 0; index < next.size(); ++index) {
            incoming_message& message = next[index];
            detail::message_header& header = headers[index].header;
            pieces[index] = message.buffer.first(detail::clamp_length(message.buffer.size()));
            header.buffers = &pieces[index];
            header.buffer_count = 1;
            header.name = message.sender.data();
            header.name_size = static_cast<std::uint32_t>(endpoint::capacity());
        }
        const int answer = home().receive_messages_now(
            fd(),
            headers.data(),
            static_cast<unsigned>(next.size()),
            flags() | detail::message_truncate
        );
        if (answer < 0) {
            error_ = answer;
            return;
        }
        const auto count = static_cast<std::size_t>(answer);
        for (std::size_t index = 0; index < count; ++index) {
            const std::size_t full = headers[index].size;
            next[index].size = message_size(std::min(full, pieces[index].size), full);
            next[index].sender.resize(headers[index].header.name_size);
        }
        received_ += count;
        if (count < next.size()) {
            return; // An error that came behind them is told by the next call.
        }
    }
}

} // namespace gyre::inline v0
