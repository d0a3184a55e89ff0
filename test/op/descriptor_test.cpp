#include <gyre/op/descriptor.hpp>

#include <gyre/operation/buffer.hpp>
#include <gyre/scheduler/run_loop.hpp>

#include "support/child.hpp"
#include "support/raw_engine.hpp"
#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;
using test::bytes_of;
using test::text_of;

namespace {

// Runs `body(scope)` so that a cancel of the scope reaches what it awaits.
template <class Body>
gyre::task<> in_scope(Body body) {
    co_await gyre::with_scope(body);
}

gyre::task<> a_few_turns() {
    for (int turn = 0; turn < 3; ++turn) {
        co_await gyre::yield();
    }
}

test::raw_fd file_with(std::string_view text) {
    test::raw_fd file(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    REQUIRE(::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    REQUIRE(::lseek(file, 0, SEEK_SET) == 0);
    return file;
}

void fill_pipe(int fd) {
    REQUIRE(::fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    const std::vector<std::byte> some(4096);
    while (::write(fd, some.data(), some.size()) > 0) {
    }
    REQUIRE(::fcntl(fd, F_SETFL, 0) == 0);
}

} // namespace

TEST_SUITE_BEGIN("op/descriptor");

TEST_CASE("op::read and op::write: a pipe carries the bytes, and its end reads as 0") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pipe = test::pipe_pair();
        const auto written = co_await gyre::op::write(pipe.second, bytes_of("abc"));
        CHECK(written.value() == 3);
        std::array<std::byte, 8> buffer;
        const auto read = co_await gyre::op::read(pipe.first, buffer);
        CHECK(text_of(std::span(buffer).first(read.value())) == "abc");
        pipe.second.close();
        const auto end = co_await gyre::op::read(pipe.first, buffer);
        CHECK(end.value() == 0);
    });
}

TEST_CASE("op::read and op::write with an offset leave a file's own position alone") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto file = file_with("0123456789");
        std::array<std::byte, 4> buffer;
        const auto middle = co_await gyre::op::read(file, buffer, 3);
        CHECK(text_of(std::span(buffer).first(middle.value())) == "3456");
        const auto first = co_await gyre::op::read(file, buffer);
        CHECK(text_of(std::span(buffer).first(first.value())) == "0123");
        const auto written = co_await gyre::op::write(file, bytes_of("xy"), 8);
        CHECK(written.value() == 2);
        const auto next = co_await gyre::op::read(file, buffer);
        CHECK(text_of(std::span(buffer).first(next.value())) == "4567");
        const auto last = co_await gyre::op::read(file, buffer);
        CHECK(text_of(std::span(buffer).first(last.value())) == "xy");
        const auto end = co_await gyre::op::read(file, buffer);
        CHECK(end.value() == 0);
    });
}

TEST_CASE("op::readv and op::writev go from piece to piece, with and without an offset") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto file = file_with("");
        const std::array<gyre::const_buffer, 3> out = {
            gyre::const_buffer(bytes_of("ab")),
            gyre::const_buffer(bytes_of("")),
            gyre::const_buffer(bytes_of("cdef"))
        };
        const auto written = co_await gyre::op::writev(file, out);
        CHECK(written.value() == 6);
        std::array<std::byte, 3> one;
        std::array<std::byte, 8> two;
        const std::array<gyre::mutable_buffer, 2> in = {
            gyre::mutable_buffer(one), gyre::mutable_buffer(two)
        };
        const auto read = co_await gyre::op::readv(file, in, 1);
        CHECK(read.value() == 5);
        CHECK(text_of(one) == "bcd");
        CHECK(text_of(std::span(two).first(2)) == "ef");
    });
}

TEST_CASE("op::read that waits is canceled, and what comes later stays in the pipe") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pipe = test::pipe_pair();
        std::array<std::byte, 8> buffer;
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto read = co_await gyre::op::read(pipe.first, buffer);
                CHECK(read.error() == std::errc::operation_canceled);
            });
            co_await a_few_turns();
            scope.cancel();
        });
        REQUIRE(::write(pipe.second, "kept", 4) == 4);
        const auto read = co_await gyre::op::read(pipe.first, buffer);
        CHECK(read.value() == 4);
    });
}

TEST_CASE("op::write to a full pipe waits for room, or for its cancel") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pipe = test::pipe_pair();
        fill_pipe(pipe.second);
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto written = co_await gyre::op::write(pipe.second, bytes_of("more"));
                CHECK(written.error() == std::errc::operation_canceled);
            });
            co_await a_few_turns();
            scope.cancel();
        });
        bool done = false;
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto written = co_await gyre::op::write(pipe.second, bytes_of("more"));
                CHECK(written.value() == 4);
                done = true;
            });
            co_await a_few_turns();
            CHECK(!done);
            std::vector<std::byte> sink(1 << 20);
            CHECK(::read(pipe.first, sink.data(), sink.size()) > 0);
        });
        CHECK(done);
    });
}

TEST_CASE("op::write to a pipe without a reader yields EPIPE, and only the ring raises SIGPIPE") {
    test::on_every_engine([]() -> gyre::task<> {
        // As in any program that writes to pipes.
        struct sigaction ignored = {};
        ignored.sa_handler = SIG_IGN;
        struct sigaction before;
        REQUIRE(::sigaction(SIGPIPE, &ignored, &before) == 0);
        auto pipe = test::pipe_pair();
        pipe.first.close();
        const auto written = co_await gyre::op::write(pipe.second, bytes_of("x"));
        CHECK(written.error() == std::errc::broken_pipe);
        const std::array<gyre::const_buffer, 1> pieces = {gyre::const_buffer(bytes_of("x"))};
        const auto gathered = co_await gyre::op::writev(pipe.second, pieces);
        CHECK(gathered.error() == std::errc::broken_pipe);
        REQUIRE(::sigaction(SIGPIPE, &before, nullptr) == 0);
    });
}

TEST_CASE("op::poll yields what a descriptor is ready for, at once or later") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pipe = test::pipe_pair();
        const auto writable = co_await gyre::op::poll(pipe.second, POLLOUT);
        CHECK((writable.value() & POLLOUT) != 0);
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto readable = co_await gyre::op::poll(pipe.first, POLLIN);
                CHECK((readable.value() & POLLIN) != 0);
            });
            co_await a_few_turns();
            REQUIRE(::write(pipe.second, "x", 1) == 1);
        });
        pipe.second.close();
        std::array<std::byte, 1> buffer;
        const auto read = co_await gyre::op::read(pipe.first, buffer);
        CHECK(read.value() == 1);
        const auto end = co_await gyre::op::poll(pipe.first, POLLIN);
        CHECK((end.value() & POLLHUP) != 0);
    });
}

TEST_CASE("op::splice moves from a file by offset into a pipe, and on into a socket") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto file = file_with("0123456789");
        auto pipe = test::pipe_pair();
        auto pair = test::socket_pair();
        const auto in = co_await gyre::op::splice(file, pipe.second, 5, {.from_offset = 2});
        CHECK(in.value() == 5);
        const auto out = co_await gyre::op::splice(pipe.first, pair.first, 100);
        CHECK(out.value() == 5);
        std::array<char, 8> text;
        CHECK(::recv(pair.second, text.data(), text.size(), 0) == 5);
        CHECK(std::string_view(text.data(), 5) == "23456");
        CHECK(::lseek(file, 0, SEEK_CUR) == 0);
        const auto end = co_await gyre::op::splice(file, pipe.second, 5, {.from_offset = 10});
        CHECK(end.value() == 0);
    });
}

TEST_CASE("op::splice waits for bytes, can be canceled while it does, and loses none by that") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pipe = test::pipe_pair();
        auto pair = test::tcp_sockets();
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto moved = co_await gyre::op::splice(pair.first, pipe.second, 100);
                CHECK(moved.error() == std::errc::operation_canceled);
            });
            co_await a_few_turns();
            const auto rested = co_await gyre::sleep_for(2ms);
            CHECK(rested);
            scope.cancel();
        });
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto moved = co_await gyre::op::splice(pair.first, pipe.second, 100);
                CHECK(moved.value() == 4);
            });
            co_await a_few_turns();
            REQUIRE(::send(pair.second, "kept", 4, 0) == 4);
        });
        std::array<char, 8> text;
        CHECK(::read(pipe.first, text.data(), text.size()) == 4);
        CHECK(std::string_view(text.data(), 4) == "kept");
    });
}

TEST_CASE("op::splice between two sockets is EINVAL, and into a pipe without a reader EPIPE") {
    test::on_every_engine([]() -> gyre::task<> {
        struct sigaction ignored = {};
        ignored.sa_handler = SIG_IGN;
        struct sigaction before;
        REQUIRE(::sigaction(SIGPIPE, &ignored, &before) == 0);
        auto pair = test::socket_pair();
        auto other = test::socket_pair();
        REQUIRE(::send(pair.second, "x", 1, 0) == 1);
        const auto refused = co_await gyre::op::splice(pair.first, other.first, 1);
        CHECK(refused.error() == std::errc::invalid_argument);
        auto pipe = test::pipe_pair();
        pipe.first.close();
        const auto broken = co_await gyre::op::splice(pair.first, pipe.second, 1);
        CHECK(broken.error() == std::errc::broken_pipe);
        REQUIRE(::sigaction(SIGPIPE, &before, nullptr) == 0);
    });
}

TEST_CASE("op::tee copies what is in a pipe and leaves it there") {
    test::on_every_engine([]() -> gyre::task<> {
        auto from = test::pipe_pair();
        auto to = test::pipe_pair();
        REQUIRE(::write(from.second, "twice", 5) == 5);
        const auto copied = co_await gyre::op::tee(from.first, to.second, 100);
        CHECK(copied.value() == 5);
        for (const int end : {static_cast<int>(from.first), static_cast<int>(to.first)}) {
            std::array<char, 8> text;
            CHECK(::read(end, text.data(), text.size()) == 5);
            CHECK(std::string_view(text.data(), 5) == "twice");
        }
    });
}

TEST_CASE("op::close closes, also in a canceled scope, and yields EBADF for what is not open") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto before = test::open_descriptors();
        const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
        const auto closed = co_await gyre::op::close(fd);
        CHECK(closed);
        const int other = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            const auto late = co_await gyre::op::close(other);
            CHECK(late);
        });
        CHECK(test::open_descriptors() == before);
        const auto none = co_await gyre::op::close(fd);
        CHECK(none.error() == std::errc::bad_file_descriptor);
    });
}

TEST_CASE("op::close of a number comes after what was queued for it") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pipe = test::pipe_pair();
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto written = co_await gyre::op::write(pipe.second, bytes_of("abc"));
                CHECK(written.value() == 3);
            });
            scope.spawn([&]() -> gyre::task<> {
                const int fd = ::dup(pipe.second);
                const auto closed = co_await gyre::op::close(fd);
                CHECK(closed);
            });
            co_return;
        });
        std::array<char, 4> text;
        CHECK(::read(pipe.first, text.data(), text.size()) == 3);
    });
}

TEST_CASE("op::nop comes back by way of the engine") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto submissions = gyre::scheduler::current().counters().submissions;
        const auto done = co_await gyre::op::nop();
        CHECK(done);
        CHECK(gyre::scheduler::current().counters().submissions > submissions);
    });
}

TEST_CASE("the raw layer is refused in a canceled scope") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pipe = test::pipe_pair();
        REQUIRE(::write(pipe.second, "x", 1) == 1);
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            std::array<std::byte, 8> buffer;
            const auto read = co_await gyre::op::read(pipe.first, buffer);
            CHECK(read.error() == std::errc::operation_canceled);
            const auto polled = co_await gyre::op::poll(pipe.first, POLLIN);
            CHECK(polled.error() == std::errc::operation_canceled);
            const auto moved = co_await gyre::op::splice(pipe.first, pipe.second, 1);
            CHECK(moved.error() == std::errc::operation_canceled);
        });
    });
}

TEST_CASE("many more raw operations than entries in the queue all complete") {
    test::on_every_engine(
        {.submission_entries = 2, .completion_entries = 64},
        []() -> gyre::task<> {
            std::vector<test::raw_pair> pipes;
            for (int count = 0; count < 100; ++count) {
                pipes.push_back(test::pipe_pair());
            }
            int done = 0;
            co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
                for (test::raw_pair& pipe : pipes) {
                    scope.spawn([&pipe, &done]() -> gyre::task<> {
                        std::array<std::byte, 8> buffer;
                        const auto read = co_await gyre::op::read(pipe.first, buffer);
                        CHECK(read.value() == 2);
                        ++done;
                    });
                    scope.spawn([&pipe]() -> gyre::task<> {
                        const auto written = co_await gyre::op::write(pipe.second, bytes_of("ab"));
                        CHECK(written.value() == 2);
                    });
                }
                co_return;
            });
            CHECK(done == 100);
            CHECK(gyre::scheduler::current().counters().submission_queue_full > 0);
        }
    );
}

TEST_CASE("op::forget without a scheduler does nothing, nor for a number that was never used") {
    gyre::op::forget(0);
    test::on_every_engine([]() -> gyre::task<> {
        gyre::op::forget(4711);
        gyre::op::forget(-1);
        co_return;
    });
}

TEST_SUITE_END();
