#pragma once

#include <gyre/error.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/net/transfer.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

namespace gyre::inline v0 {

/// What `recv_exactly` returns. It submits itself again until the buffer is full.
class [[nodiscard("co_await the operation")]] recv_exactly_operation
    : public detail::awaitable_base {
public:
    using awaiter = detail::operation_awaiter<recv_exactly_operation>;
    using result_type = transfer;

    recv_exactly_operation(stream& from, std::span<std::byte> buffer) noexcept
        : stream_(&from), buffer_(buffer) {}

private:
    friend awaiter;
    static constexpr std::uint8_t opcode = detail::uapi::op_recv;
    static constexpr const char* name = "recv_exactly";
    static constexpr bool can_poll_first = true;

    bool begin(detail::run_loop&, std::int32_t&) const noexcept { return !buffer_.empty(); }
    void prepare(detail::submission& entry) const noexcept {
        entry.opcode = opcode;
        entry.fd = stream_->socket_.fd;
        entry.address = reinterpret_cast<std::uintptr_t>(buffer_.data() + received_);
        entry.length = detail::clamp_length(buffer_.size() - received_);
        // Not MSG_WAITALL: the kernel would answer with the bytes before a reset and forget the
        // reset.
    }
    bool again(std::int32_t result) noexcept {
        if (result > 0) [[likely]] {
            received_ += static_cast<std::size_t>(result);
            return received_ < buffer_.size();
        }
        return result == -EAGAIN;
    }
    transfer take(std::int32_t result) const noexcept {
        if (result < 0) [[unlikely]] {
            return transfer(received_, detail::error_of(result));
        }
        if (received_ < buffer_.size()) {
            return transfer(received_, make_error_code(errc::end_of_stream));
        }
        return transfer(received_);
    }
    detail::operation_id* in_flight() const noexcept { return &stream_->socket_.receiving; }

    stream* stream_;
    std::span<std::byte> buffer_;
    std::size_t received_ = 0;
};

/// Receives until `buffer` is full.
///
/// \param from    the stream; it outlives the suspension.
/// \param buffer  where the bytes go; its memory outlives the suspension. May be empty.
/// \return        a `transfer`: how many bytes arrived, and the error if those are not all.
///
/// \par Errors        `errc::end_of_stream` the peer closed before the last byte. Otherwise as for
///                    `stream::recv`.
/// \par Cancellation  `bytes()` tells what had arrived before `ECANCELED`; those bytes are in
///                    `buffer`.
/// \par Kernel        5.6. IORING_OP_RECV; recv(2).
inline recv_exactly_operation recv_exactly(stream& from, std::span<std::byte> buffer) noexcept {
    return recv_exactly_operation(from, buffer);
}

} // namespace gyre::inline v0
