#pragma once

#include <gyre/net/stream.hpp>
#include <gyre/net/transfer.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

namespace gyre::inline v0 {

/// What `send_all` returns. It submits itself again until all is sent, so it costs no coroutine.
class [[nodiscard("co_await the operation")]] send_all_operation : public detail::awaitable_base {
public:
    using awaiter = detail::operation_awaiter<send_all_operation>;
    using result_type = transfer;

    send_all_operation(stream& to, std::span<const std::byte> bytes, int flags) noexcept
        : stream_(&to), bytes_(bytes), flags_(flags) {}

private:
    friend awaiter;
    static constexpr std::uint8_t opcode = detail::uapi::op_send;
    static constexpr const char* name = "send_all";
    static constexpr bool can_poll_first = true;

    bool begin(detail::run_loop&, std::int32_t&) const noexcept { return !bytes_.empty(); }
    void prepare(detail::submission& entry) const noexcept {
        entry.opcode = opcode;
        entry.fd = stream_->socket_.fd;
        entry.address = reinterpret_cast<std::uintptr_t>(bytes_.data() + sent_);
        entry.length = detail::clamp_length(bytes_.size() - sent_);
        entry.operation_flags =
            static_cast<std::uint32_t>(flags_ | detail::message_waitall | detail::message_nosignal);
    }
    bool again(std::int32_t result) noexcept {
        if (result > 0) [[likely]] {
            sent_ += static_cast<std::size_t>(result);
            return sent_ < bytes_.size();
        }
        return result == -EAGAIN && (flags_ & detail::message_dontwait) == 0;
    }
    transfer take(std::int32_t result) const noexcept {
        if (result < 0) [[unlikely]] {
            return transfer(sent_, detail::error_of(result));
        }
        return transfer(sent_);
    }
    detail::operation_id* in_flight() const noexcept { return &stream_->socket_.sending; }

    stream* stream_;
    std::span<const std::byte> bytes_;
    std::size_t sent_ = 0;
    int flags_;
};

/// Sends all of `bytes`.
///
/// \param to     the stream; it outlives the suspension.
/// \param bytes  the bytes; their memory outlives the suspension. May be empty.
/// \param flags  MSG_ values such as MSG_MORE.
/// \return       a `transfer`: how many bytes were taken, and the error if those are not all.
///
/// \par Errors        As for `stream::send`.
/// \par Cancellation  `bytes()` tells what was sent before `ECANCELED`.
/// \par Kernel        5.6. IORING_OP_SEND with MSG_WAITALL; send(2).
inline send_all_operation
send_all(stream& to, std::span<const std::byte> bytes, int flags = 0) noexcept {
    return send_all_operation(to, bytes, flags);
}

} // namespace gyre::inline v0
