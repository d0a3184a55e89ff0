#pragma once

#include <gyre/net/endpoint.hpp>
#include <gyre/net/message.hpp>
#include <gyre/net/recvfrom.hpp>
#include <gyre/net/sendto.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/operation/operation.hpp>
#include <gyre/ring/domain.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>

namespace gyre::inline v0 {

/// One of the messages that `datagram::send_batch` sends.
struct outgoing_message {
    std::span<const std::byte> bytes;
    const endpoint* to = nullptr; ///< Nothing: whom the socket is connected to.
};

/// Room for one of the messages that `datagram::recv_batch` receives.
struct incoming_message {
    std::span<std::byte> buffer;
    message_size size;    ///< Of the message; set by the receive.
    endpoint sender = {}; ///< Set by the receive.
};

/// How many messages a call has moved, and why not more. A plain value.
class [[nodiscard]] batch {
public:
    explicit batch(std::size_t count) noexcept : count_(count) {}
    batch(std::size_t count, std::error_code error) noexcept : error_(error), count_(count) {}

    std::size_t count() const noexcept { return count_; }
    /// What came after those messages; empty if nothing did.
    std::error_code error() const noexcept { return error_; }
    explicit operator bool() const noexcept { return !error_; }

private:
    std::error_code error_;
    std::size_t count_;
};

/// What `datagram::send_batch` returns.
class [[nodiscard("co_await the operation")]] send_batch_operation : public detail::message_send {
public:
    using awaiter = detail::operation_awaiter<send_batch_operation>;
    using result_type = batch;

    send_batch_operation(
        detail::socket_state& socket,
        detail::domain* home,
        bool is_unix,
        std::span<const outgoing_message> messages,
        int flags
    ) noexcept
        : message_send(socket, is_unix, std::span<const std::byte>(), nullptr, nullptr, flags),
          home_(home), messages_(messages) {}

private:
    friend awaiter;
    static constexpr const char* name = "send_batch";

    bool begin(detail::run_loop& loop, std::int32_t& result) noexcept;
    bool again(std::int32_t result) noexcept;
    batch take(std::int32_t result) const noexcept;
    bool send_what_fits() noexcept;

    detail::domain* home_;
    std::span<const outgoing_message> messages_;
    std::size_t sent_ = 0;
    std::int32_t error_ = 0; // A negative errno.
};

/// What `datagram::recv_batch` returns.
class [[nodiscard("co_await the operation")]] recv_batch_operation
    : public detail::message_receive {
public:
    using awaiter = detail::operation_awaiter<recv_batch_operation>;
    using result_type = batch;

    recv_batch_operation(
        detail::socket_state& socket,
        detail::domain* home,
        std::span<incoming_message> messages,
        int flags
    ) noexcept
        : message_receive(socket, home, messages[0].buffer, &messages[0].sender, nullptr, flags),
          messages_(messages) {}

private:
    friend awaiter;
    static constexpr const char* name = "recv_batch";

    bool begin(detail::run_loop& loop, std::int32_t& result) noexcept;
    bool again(std::int32_t result) noexcept;
    batch take(std::int32_t result) const noexcept;
    void receive_what_is_there() noexcept;

    std::span<incoming_message> messages_;
    std::size_t received_ = 0;
    std::int32_t error_ = 0; // A negative errno.
};

} // namespace gyre::inline v0
