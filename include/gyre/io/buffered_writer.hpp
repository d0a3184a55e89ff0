#pragma once

#include <gyre/io/byte_stream.hpp>
#include <gyre/net/transfer.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/result.hpp>
#include <gyre/task/now_or_later.hpp>
#include <gyre/task/task.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <type_traits>

namespace gyre::inline v0 {

/// How a `buffered_writer` is made.
struct buffered_writer_options {
    /// Bytes of the buffer, which is made once.
    std::size_t buffer_size = 16384;
};
static_assert(std::is_trivially_destructible_v<buffered_writer_options>);

template <byte_stream Stream>
class buffered_writer;

namespace detail {

/// The bytes that wait to be sent: what is the same for every stream.
class write_buffer {
public:
    explicit write_buffer(std::size_t size);

    std::span<const std::byte> bytes() const noexcept {
        return {memory_.get() + begin_, end_ - begin_};
    }
    std::size_t size() const noexcept { return end_ - begin_; }
    bool has_room_for(std::size_t count) const noexcept { return count <= capacity_ - size(); }

    /// There is room for them.
    void add(std::span<const std::byte> more) noexcept;
    void drop(std::size_t count) noexcept;

private:
    std::unique_ptr<std::byte[]> memory_;
    std::size_t capacity_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

// What the calls of a writer are before they are awaited.

template <class Stream>
struct writer_write {
    using result_type = transfer;
    std::optional<transfer> now() noexcept { return writer->write_now(bytes); }
    task<transfer> later() { return writer->write_later(bytes); }
    buffered_writer<Stream>* writer;
    std::span<const std::byte> bytes;
};

template <class Stream>
struct writer_flush {
    using result_type = transfer;
    std::optional<transfer> now() noexcept { return writer->flush_now(); }
    task<transfer> later() { return writer->flush_later(); }
    buffered_writer<Stream>* writer;
};

template <class Stream>
concept gathers = requires(Stream& made, std::span<const const_buffer> pieces) {
    { made.send(pieces) } -> awaitable_for<result<std::size_t>>;
};

} // namespace detail

/// Collects what is written and sends it in large pieces.
///
/// It owns a buffer of fixed size and refers to the stream, which outlives it. A write that fits the
/// buffer costs no coroutine and no system call; one that does not is sent together with what is in
/// the buffer. Nothing is sent before the buffer is full or `flush` is awaited: **what was not
/// flushed when the writer goes is dropped**, since a destructor can neither wait nor fail.
///
/// An error of the stream stays: each later call yields it and takes nothing. After a cancel, which
/// is no error of the stream, it goes on where it was: what was not sent is still `buffered`.
///
/// One call at a time. Nobody else sends on the stream meanwhile; others may receive.
template <byte_stream Stream>
class buffered_writer {
public:
    /// \throws std::bad_alloc  no memory for the buffer.
    explicit buffered_writer(Stream& to, const buffered_writer_options& options = {})
        : to_(&to), buffer_(options.buffer_size) {}
    buffered_writer(const buffered_writer&) = delete;
    buffered_writer& operator=(const buffered_writer&) = delete;

    /// Takes all of `bytes`: into the buffer, or onto the stream.
    ///
    /// \param bytes  may be empty; they outlive the suspension, and no more.
    /// \return       a `transfer`: how many of `bytes` were taken, and the error if those are not
    ///               all. What was taken and is not `buffered` any more was sent.
    /// \par Errors   Those of the stream's `send`.
    auto write(std::span<const std::byte> bytes) noexcept {
        return now_or_later(detail::writer_write<Stream>{this, bytes});
    }
    auto write(std::string_view text) noexcept {
        return write(std::as_bytes(std::span(text.data(), text.size())));
    }

    /// Sends all that is in the buffer.
    ///
    /// \return      a `transfer`: how many bytes this call sent, and the error if something is left.
    /// \par Errors  Those of the stream's `send`.
    auto flush() noexcept { return now_or_later(detail::writer_flush<Stream>{this}); }

    /// How many bytes were taken and not sent.
    std::size_t buffered() const noexcept { return buffer_.size(); }

    /// How many bytes the stream has taken, over all calls.
    std::uint64_t sent() const noexcept { return sent_; }

    /// The error that stays; an empty code while there is none.
    std::error_code error() const noexcept { return error_; }

    Stream& sink() const noexcept { return *to_; }

private:
    friend detail::writer_write<Stream>;
    friend detail::writer_flush<Stream>;

    // What one send came to: an error, which stays unless it is a cancel.
    std::error_code look_at(const result<std::size_t>& taken) noexcept {
        if (taken) {
            sent_ += *taken;
            return std::error_code();
        }
        if (taken.error() != std::errc::operation_canceled) {
            error_ = taken.error();
        }
        return taken.error();
    }

    std::optional<transfer> write_now(std::span<const std::byte> bytes) noexcept {
        if (error_) [[unlikely]] {
            return transfer(0, error_);
        }
        if (!buffer_.has_room_for(bytes.size())) {
            return std::nullopt;
        }
        buffer_.add(bytes);
        return transfer(bytes.size());
    }
    task<transfer> write_later(std::span<const std::byte> bytes) {
        std::size_t moved = 0; // Of `bytes`.
        while (!buffer_.has_room_for(bytes.size() - moved)) {
            const auto waiting = buffer_.bytes();
            const auto rest = bytes.subspan(moved);
            result<std::size_t> taken = std::size_t{0};
            if constexpr (detail::gathers<Stream>) {
                const std::array<const_buffer, 2> both = {
                    const_buffer(waiting), const_buffer(rest)
                };
                const auto pieces = std::span(both).subspan(waiting.empty() ? 1 : 0);
                taken = co_await to_->send(std::span<const const_buffer>(pieces));
            } else {
                const auto first = waiting.empty() ? rest : waiting;
                taken = co_await to_->send(first);
            }
            if (const std::error_code error = look_at(taken)) {
                co_return transfer(moved, error);
            }
            const std::size_t from_buffer = *taken < waiting.size() ? *taken : waiting.size();
            buffer_.drop(from_buffer);
            moved += *taken - from_buffer;
        }
        buffer_.add(bytes.subspan(moved));
        co_return transfer(bytes.size());
    }

    std::optional<transfer> flush_now() noexcept {
        if (error_) [[unlikely]] {
            return transfer(0, error_);
        }
        return buffer_.size() == 0 ? std::optional(transfer(0)) : std::nullopt;
    }
    task<transfer> flush_later() {
        std::size_t moved = 0;
        while (buffer_.size() != 0) {
            const result<std::size_t> taken = co_await to_->send(buffer_.bytes());
            if (const std::error_code error = look_at(taken)) {
                co_return transfer(moved, error);
            }
            buffer_.drop(*taken);
            moved += *taken;
        }
        co_return transfer(moved);
    }

    Stream* to_;
    detail::write_buffer buffer_;
    std::uint64_t sent_ = 0;
    std::error_code error_;
};

} // namespace gyre::inline v0
