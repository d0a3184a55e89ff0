#pragma once

#include <gyre/error.hpp>
#include <gyre/io/byte_stream.hpp>
#include <gyre/net/transfer.hpp>
#include <gyre/result.hpp>
#include <gyre/task/now_or_later.hpp>
#include <gyre/task/task.hpp>

#include <cerrno>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <type_traits>

namespace gyre::inline v0 {

/// How a `buffered_reader` is made.
struct buffered_reader_options {
    /// Bytes of the buffer, which is made once. No line, delimited piece or peek is longer.
    std::size_t buffer_size = 16384;
};
static_assert(std::is_trivially_destructible_v<buffered_reader_options>);

template <byte_stream Stream>
class buffered_reader;

namespace detail {

/// The bytes that have come and were not taken: what is the same for every stream.
class read_buffer {
public:
    explicit read_buffer(std::size_t size);

    std::span<const std::byte> bytes() const noexcept {
        return {memory_.get() + begin_, end_ - begin_};
    }
    std::size_t size() const noexcept { return end_ - begin_; }
    std::size_t capacity() const noexcept { return capacity_; }

    /// Where the next bytes go; not empty unless the buffer is full. Moves what is there.
    std::span<std::byte> room() noexcept;
    void add(std::size_t count) noexcept { end_ += count; }

    void drop(std::size_t count) noexcept { begin_ += count; }
    std::span<const std::byte> take(std::size_t count) noexcept {
        const auto taken = bytes().first(count);
        begin_ += count;
        return taken;
    }
    /// Copies as much as there is and fits.
    std::size_t take_into(std::span<std::byte> buffer) noexcept;

    /// The next line or piece, or why there is none; nothing if more bytes may tell. `scanned` is
    /// how many bytes have been searched in vain before.
    std::optional<result<std::string_view>>
    take_line(std::size_t limit, std::size_t& scanned) noexcept;
    std::optional<result<std::span<const std::byte>>>
    take_until(std::string_view delimiter, std::size_t limit, std::size_t& scanned) noexcept;

private:
    std::unique_ptr<std::byte[]> memory_;
    std::size_t capacity_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

// What the calls of a reader are before they are awaited.

template <class Stream>
struct reader_read {
    using result_type = result<std::size_t>;
    std::optional<result_type> now() noexcept { return reader->read_now(buffer); }
    task<result_type> later() { return reader->read_later(buffer); }
    buffered_reader<Stream>* reader;
    std::span<std::byte> buffer;
};

template <class Stream>
struct reader_read_exactly {
    using result_type = transfer;
    std::optional<result_type> now() noexcept { return reader->read_exactly_now(buffer); }
    task<result_type> later() { return reader->read_exactly_later(buffer); }
    buffered_reader<Stream>* reader;
    std::span<std::byte> buffer;
};

template <class Stream>
struct reader_read_until {
    using result_type = result<std::span<const std::byte>>;
    std::optional<result_type> now() noexcept { return reader->read_until_now(delimiter, limit); }
    task<result_type> later() { return reader->read_until_later(delimiter, limit); }
    buffered_reader<Stream>* reader;
    std::string_view delimiter;
    std::size_t limit;
};

template <class Stream>
struct reader_read_line {
    using result_type = result<std::string_view>;
    std::optional<result_type> now() noexcept { return reader->read_line_now(limit); }
    task<result_type> later() { return reader->read_line_later(limit); }
    buffered_reader<Stream>* reader;
    std::size_t limit;
};

template <class Stream>
struct reader_peek {
    using result_type = result<std::span<const std::byte>>;
    std::optional<result_type> now() noexcept { return reader->peek_now(size); }
    task<result_type> later() { return reader->peek_later(size); }
    buffered_reader<Stream>* reader;
    std::size_t size;
};

template <class Stream>
struct reader_skip {
    using result_type = transfer;
    std::optional<result_type> now() noexcept { return reader->skip_now(count); }
    task<result_type> later() { return reader->skip_later(count); }
    buffered_reader<Stream>* reader;
    std::size_t count;
};

} // namespace detail

/// Reads from a byte stream in pieces that a protocol has: lines, lengths, up to a delimiter.
///
/// It owns a buffer of fixed size and refers to the stream, which outlives it. What a call finds in
/// the buffer costs no coroutine and no system call. Views that it hands out point into the buffer
/// and are valid until the next call. Bytes that have come are never lost: neither to an error that
/// follows them, nor to an end in the middle, nor to a cancel; they stay in `buffered`, and the next
/// call sees them.
///
/// One call at a time. Nobody else receives from the stream meanwhile; others may send.
template <byte_stream Stream>
class buffered_reader {
public:
    /// \throws std::bad_alloc  no memory for the buffer.
    explicit buffered_reader(Stream& from, const buffered_reader_options& options = {})
        : from_(&from), buffer_(options.buffer_size) {}
    buffered_reader(const buffered_reader&) = delete;
    buffered_reader& operator=(const buffered_reader&) = delete;

    /// Reads up to `buffer.size()` bytes: what is there, or else what comes next.
    ///
    /// \param buffer  where the bytes go; not empty; outlives the suspension.
    /// \return        the number of bytes; 0 at the end of the stream.
    /// \par Errors    Those of the stream's `recv`.
    auto read(std::span<std::byte> buffer) noexcept {
        return now_or_later(detail::reader_read<Stream>{this, buffer});
    }

    /// Reads until `buffer` is full.
    ///
    /// \return      a `transfer`: how many bytes are in `buffer`, and the error if it is not full.
    /// \par Errors  `errc::end_of_stream` it ended before. Otherwise those of the stream's `recv`.
    auto read_exactly(std::span<std::byte> buffer) noexcept {
        return now_or_later(detail::reader_read_exactly<Stream>{this, buffer});
    }

    /// Reads up to and with `delimiter`.
    ///
    /// \param delimiter  the bytes that end the piece; not empty; outlives the suspension.
    /// \param limit      how long the piece may be at most, delimiter included. The buffer's size
    ///                   is a limit as well.
    /// \return           the piece with its delimiter, valid until the next call.
    ///
    /// \par Errors  `EMSGSIZE` the limit was reached: nothing is taken, and the next call begins at
    ///              the same byte. `errc::end_of_stream` it ended before a delimiter: what came is
    ///              in `buffered`. Otherwise those of the stream's `recv`.
    auto read_until(std::string_view delimiter, std::size_t limit) noexcept {
        return now_or_later(detail::reader_read_until<Stream>{this, delimiter, limit});
    }

    /// Reads a line, which ends with LF or CR LF.
    ///
    /// \param limit  how long the line may be at most, without its end. The buffer's size is a limit
    ///               as well.
    /// \return       the line without its end, valid until the next call.
    ///
    /// \par Errors  As for `read_until`. A last line without an end is `errc::end_of_stream`, and is
    ///              in `buffered`.
    auto read_line(std::size_t limit) noexcept {
        return now_or_later(detail::reader_read_line<Stream>{this, limit});
    }

    /// Waits until `size` bytes are there, and takes none.
    ///
    /// \return      the next `size` bytes, valid until the next call.
    /// \par Errors  `EMSGSIZE` the buffer is smaller. `errc::end_of_stream` it ended before: what
    ///              came is in `buffered`. Otherwise those of the stream's `recv`.
    auto peek(std::size_t size) noexcept {
        return now_or_later(detail::reader_peek<Stream>{this, size});
    }

    /// Reads `count` bytes and drops them.
    ///
    /// \return      a `transfer`: how many were dropped, and the error if those are not all.
    /// \par Errors  As for `read_exactly`.
    auto skip(std::size_t count) noexcept {
        return now_or_later(detail::reader_skip<Stream>{this, count});
    }

    /// What has come and was not taken, valid until the next call.
    std::span<const std::byte> buffered() const noexcept { return buffer_.bytes(); }

    /// Takes `count` of the bytes that are `buffered`: for who has looked at them.
    void consume(std::size_t count) noexcept {
        buffer_.drop(count < buffer_.size() ? count : buffer_.size());
    }

    Stream& source() const noexcept { return *from_; }

private:
    friend detail::reader_read<Stream>;
    friend detail::reader_read_exactly<Stream>;
    friend detail::reader_read_until<Stream>;
    friend detail::reader_read_line<Stream>;
    friend detail::reader_peek<Stream>;
    friend detail::reader_skip<Stream>;

    // Takes in what came. An error, or the end, which is one here.
    std::error_code take_in(const result<std::size_t>& received) noexcept {
        if (!received) {
            return received.error();
        }
        buffer_.add(*received);
        return *received == 0 ? make_error_code(errc::end_of_stream) : std::error_code();
    }

    std::optional<result<std::size_t>> read_now(std::span<std::byte> buffer) noexcept {
        if (buffer_.size() == 0) {
            return std::nullopt;
        }
        return buffer_.take_into(buffer);
    }
    task<result<std::size_t>> read_later(std::span<std::byte> buffer) {
        if (buffer.size() >= buffer_.capacity()) { // Nothing would be left over.
            const result<std::size_t> received = co_await from_->recv(buffer);
            co_return received;
        }
        const result<std::size_t> received = co_await from_->recv(buffer_.room());
        if (!received) {
            co_return received;
        }
        buffer_.add(*received);
        co_return buffer_.take_into(buffer);
    }

    std::optional<transfer> read_exactly_now(std::span<std::byte> buffer) noexcept {
        if (buffer_.size() < buffer.size()) {
            return std::nullopt;
        }
        return transfer(buffer_.take_into(buffer));
    }
    task<transfer> read_exactly_later(std::span<std::byte> buffer) {
        std::size_t count = buffer_.take_into(buffer);
        while (count < buffer.size()) {
            const auto rest = buffer.subspan(count);
            const bool past_buffer = rest.size() >= buffer_.capacity();
            const std::span<std::byte> into = past_buffer ? rest : buffer_.room();
            const result<std::size_t> received = co_await from_->recv(into);
            if (!received) {
                co_return transfer(count, received.error());
            }
            if (*received == 0) {
                co_return transfer(count, make_error_code(errc::end_of_stream));
            }
            if (past_buffer) {
                count += *received;
            } else {
                buffer_.add(*received);
                count += buffer_.take_into(rest);
            }
        }
        co_return transfer(count);
    }

    std::optional<result<std::span<const std::byte>>>
    read_until_now(std::string_view delimiter, std::size_t limit) noexcept {
        std::size_t scanned = 0;
        return buffer_.take_until(delimiter, limit, scanned);
    }
    task<result<std::span<const std::byte>>>
    read_until_later(std::string_view delimiter, std::size_t limit) {
        std::size_t scanned = 0;
        for (;;) {
            const auto found = buffer_.take_until(delimiter, limit, scanned);
            if (found) {
                co_return *found;
            }
            const result<std::size_t> received = co_await from_->recv(buffer_.room());
            if (const std::error_code error = take_in(received)) {
                co_return error;
            }
        }
    }

    std::optional<result<std::string_view>> read_line_now(std::size_t limit) noexcept {
        std::size_t scanned = 0;
        return buffer_.take_line(limit, scanned);
    }
    task<result<std::string_view>> read_line_later(std::size_t limit) {
        std::size_t scanned = buffer_.size();
        for (;;) {
            const result<std::size_t> received = co_await from_->recv(buffer_.room());
            if (const std::error_code error = take_in(received)) {
                co_return error;
            }
            const auto found = buffer_.take_line(limit, scanned);
            if (found) {
                co_return *found;
            }
        }
    }

    std::optional<result<std::span<const std::byte>>> peek_now(std::size_t size) noexcept {
        if (size > buffer_.capacity()) {
            return result<std::span<const std::byte>>(errno_code(EMSGSIZE));
        }
        if (size > buffer_.size()) {
            return std::nullopt;
        }
        return buffer_.bytes().first(size);
    }
    task<result<std::span<const std::byte>>> peek_later(std::size_t size) {
        while (buffer_.size() < size) {
            const result<std::size_t> received = co_await from_->recv(buffer_.room());
            if (const std::error_code error = take_in(received)) {
                co_return error;
            }
        }
        co_return buffer_.bytes().first(size);
    }

    std::optional<transfer> skip_now(std::size_t count) noexcept {
        if (count > buffer_.size()) {
            return std::nullopt;
        }
        buffer_.drop(count);
        return transfer(count);
    }
    task<transfer> skip_later(std::size_t count) {
        std::size_t skipped = 0;
        for (;;) {
            const std::size_t left = count - skipped;
            const std::size_t here = buffer_.size() < left ? buffer_.size() : left;
            buffer_.drop(here);
            skipped += here;
            if (skipped == count) {
                co_return transfer(skipped);
            }
            const result<std::size_t> received = co_await from_->recv(buffer_.room());
            if (const std::error_code error = take_in(received)) {
                co_return transfer(skipped, error);
            }
        }
    }

    Stream* from_;
    detail::read_buffer buffer_;
};

} // namespace gyre::inline v0
