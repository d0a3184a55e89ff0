// The buffered reader and writer beside plain strings.

#include <gyre/io/buffered_reader.hpp>
#include <gyre/io/buffered_writer.hpp>
#include <gyre/ring/engine.hpp>

#include "support/fuzz.hpp"
#include "support/scripted_stream.hpp"
#include "support/test.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

using test::text_of;
using test::trial;

namespace {

const auto interrupted = gyre::errno_code(EIO); // What the script throws in between.
const auto too_long = gyre::errno_code(EMSGSIZE);
const auto at_end = gyre::make_error_code(gyre::errc::end_of_stream);

std::string any_text(trial& round) {
    constexpr std::string_view letters = "ab;\r\n";
    std::string text;
    for (auto size = round.any_size(8); size > 0; --size) {
        text += letters[round.below(round.one_in(3) ? letters.size() : 2)];
    }
    return text;
}

// What a call comes to is a function of the text that is left and of the buffer's size, whatever
// pieces it comes in; or it is interrupted, and nothing is lost.
class reading {
public:
    explicit reading(trial& round)
        : round_(round), capacity_(static_cast<std::size_t>(1 + round.any_size(6))) {
        for (int pieces = static_cast<int>(round.below(40)); pieces != 0; --pieces) {
            if (round.one_in(8)) {
                from_.fails(interrupted);
            }
            const std::string piece = any_text(round);
            if (!piece.empty()) {
                from_.comes(piece);
            }
            text_ += piece;
        }
    }

    gyre::task<> run() {
        gyre::buffered_reader from(from_, {.buffer_size = capacity_});
        for (int idle = 0; idle < 20 && !round_.failed();) {
            const std::size_t before = text_.size();
            const auto size = static_cast<std::size_t>(round_.any_size(7));
            switch (round_.below(6)) {
            case 0: {
                const auto line = co_await from.read_line(size);
                check_line(line, size);
                break;
            }
            case 1: {
                constexpr std::string_view delimiters[] = {";", "\r\n", "ab", "a;b"};
                const std::string_view delimiter = delimiters[round_.below(4)];
                const auto piece = co_await from.read_until(delimiter, size);
                check_until(piece, delimiter, size);
                break;
            }
            case 2: {
                const auto seen = co_await from.peek(size);
                if (!is_interrupted(seen.error())) {
                    const std::error_code wanted = size > capacity_      ? too_long
                                                   : size > text_.size() ? at_end
                                                                         : std::error_code();
                    round_.expect(seen.error() == wanted, "peek ends by something else");
                    round_.expect(!seen || text_of(*seen) == text_.substr(0, size), "peek differs");
                }
                break;
            }
            case 3: {
                const auto skipped = co_await from.skip(size);
                take(skipped, size);
                break;
            }
            case 4: {
                std::vector<std::byte> buffer(size);
                const auto exact = co_await from.read_exactly(buffer);
                expect_next(text_of(std::span(buffer).first(exact.bytes())));
                take(exact, size);
                break;
            }
            default: {
                std::vector<std::byte> buffer(size + 1);
                const auto some = co_await from.read(buffer);
                if (some) {
                    round_.expect((*some == 0) == text_.empty(), "read sees no end, or one");
                    expect_next(text_of(std::span(buffer).first(*some)));
                    text_.erase(0, *some);
                } else {
                    round_.expect(is_interrupted(some.error()), "read fails");
                }
            }
            }
            round_.expect(
                text_of(from.buffered()) == text_.substr(0, from.buffered().size()),
                "what is buffered is not what comes next"
            );
            idle = text_.size() < before ? 0 : idle + 1;
        }
    }

private:
    bool is_interrupted(std::error_code error) const { return error == interrupted; }

    void expect_next(std::string_view bytes) {
        round_.expect(bytes == text_.substr(0, bytes.size()), "the bytes are not the next ones");
    }

    void take(const gyre::transfer& moved, std::size_t size) {
        if (!is_interrupted(moved.error())) {
            const std::size_t wanted = std::min(size, text_.size());
            round_.expect(moved.bytes() == wanted, "a count differs");
            round_.expect(
                moved.error() == (size > text_.size() ? at_end : std::error_code()),
                "an end differs"
            );
        }
        round_.expect(moved.bytes() <= text_.size(), "there is not so much");
        text_.erase(0, moved.bytes());
    }

    void check_line(const gyre::result<std::string_view>& line, std::size_t limit) {
        if (is_interrupted(line.error())) {
            return;
        }
        limit = std::min(limit, capacity_);
        const std::size_t window = std::min(limit + 2, capacity_);
        const std::size_t end = text_.find('\n');
        std::error_code wanted;
        std::string_view expected;
        if (end < window) {
            expected = std::string_view(text_).substr(0, end);
            if (expected.ends_with('\r')) {
                expected.remove_suffix(1);
            }
            wanted = expected.size() > limit ? too_long : std::error_code();
        } else {
            const bool is_sure =
                text_.size() >= window || (text_.size() == limit + 1 && text_[limit] != '\r');
            wanted = is_sure ? too_long : at_end;
        }
        round_.expect(line.error() == wanted, "read_line ends by something else");
        if (line) {
            round_.expect(*line == expected, "a line differs");
            text_.erase(0, end + 1);
        }
    }

    void check_until(
        const gyre::result<std::span<const std::byte>>& piece,
        std::string_view delimiter,
        std::size_t limit
    ) {
        if (is_interrupted(piece.error())) {
            return;
        }
        const std::size_t window = std::min(limit, capacity_);
        const std::size_t found = std::string_view(text_).substr(0, window).find(delimiter);
        const std::error_code wanted = found != text_.npos      ? std::error_code()
                                       : text_.size() >= window ? too_long
                                                                : at_end;
        round_.expect(piece.error() == wanted, "read_until ends by something else");
        if (piece) {
            round_.expect(piece->size() == found + delimiter.size(), "a piece ends elsewhere");
            expect_next(text_of(*piece));
            text_.erase(0, piece->size());
        }
    }

    trial& round_;
    test::scripted_stream from_;
    std::size_t capacity_;
    std::string text_; // What is left.
};

gyre::task<> write_at_random(trial& round) {
    test::scripted_stream to;
    to.take_max = static_cast<std::size_t>(1 + round.any_size(7));
    gyre::buffered_writer out(to, {.buffer_size = static_cast<std::size_t>(1 + round.any_size(6))});
    std::string all;
    for (int calls = static_cast<int>(round.below(60)); calls != 0 && !round.failed(); --calls) {
        if (round.one_in(10)) { // The stream ends somewhere ahead.
            to.room =
                std::min(to.room, to.taken.size() + static_cast<std::size_t>(round.any_size(9)));
        }
        const std::uint64_t before = out.sent();
        const bool was_broken = static_cast<bool>(out.error());
        if (round.one_in(4)) {
            const auto flushed = co_await out.flush();
            round.expect(flushed.bytes() == out.sent() - before, "a flush counts wrong");
            round.expect(!flushed || out.buffered() == 0, "a flush leaves something");
            round.expect(flushed.error() == out.error(), "an error does not stay");
        } else {
            const std::string text = any_text(round);
            const auto written = co_await out.write(text);
            round.expect(written.bytes() <= text.size(), "more was written than there is");
            round.expect(!written || written.bytes() == text.size(), "a part is no success");
            round.expect(written.error() == out.error(), "an error does not stay");
            all += text.substr(0, written.bytes());
        }
        round.expect(!was_broken || out.sent() == before, "it sends after an error");
        round.expect(out.sent() == to.taken.size(), "it counts what was not sent");
        round.expect(all.starts_with(to.taken), "what was sent is not what was written");
        round.expect(out.sent() + out.buffered() == all.size(), "bytes are lost");
    }
}

} // namespace

TEST_SUITE_BEGIN("io/fuzz");

TEST_CASE("any calls on any pieces yield what the text says, and lose nothing to an error") {
    const auto rounds = test::fuzz({}, [](trial& round) {
        reading one(round);
        gyre::run({.engine = gyre::engine_kind::epoll}, [&] { return one.run(); });
    });
    CHECK(rounds > 0);
}

TEST_CASE("any writes and flushes arrive in order and are counted, also before an error") {
    const auto rounds = test::fuzz({}, [](trial& round) {
        gyre::run({.engine = gyre::engine_kind::epoll}, write_at_random, std::ref(round));
    });
    CHECK(rounds > 0);
}

TEST_SUITE_END();
