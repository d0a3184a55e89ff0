// What is asked of every operation, asked of three raw ones: a read that waits for bytes, a write
// that waits for room, and a splice, which the kernel's ring runs in a thread of its own.

#include <gyre/op/descriptor.hpp>

#include <gyre/result.hpp>

#include "op/lifecycle.hpp"
#include "support/raw_engine.hpp"
#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string_view>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

using test::bytes_of;
using test::canceled_after;
using test::canceled_in_flight;
using test::counters;
using test::destroyed;
using test::in_scope;
using test::many;
using test::no_sigpipe;
using test::refused_before;
using test::settled;
using test::text_of;
using test::tiny_completion_queue;
using test::tiny_submission_queue;

namespace {

/// Four bytes that are read from a pipe.
struct reading {
    auto begin() { return gyre::op::read(pipe.first, buffer); }
    void make_ready() { REQUIRE(::write(pipe.second, "four", 4) == 4); }
    test::raw_pair pipe = test::pipe_pair();
    std::array<std::byte, 8> buffer{};
};

/// Four bytes that are written to a pipe which is full.
struct writing {
    writing() {
        REQUIRE(::fcntl(pipe.second, F_SETPIPE_SZ, 4096) == 4096);
        const std::vector<std::byte> much(4096);
        REQUIRE(::write(pipe.second, much.data(), much.size()) == 4096);
    }
    auto begin() { return gyre::op::write(pipe.second, bytes_of("four")); }
    void make_ready() {
        std::vector<std::byte> sink(4096);
        REQUIRE(::read(pipe.first, sink.data(), sink.size()) == 4096);
    }
    test::raw_pair pipe = test::pipe_pair();
};

/// Four bytes that are spliced from one pipe into another.
struct splicing {
    auto begin() { return gyre::op::splice(pipe.first, other.second, 8); }
    void make_ready() { REQUIRE(::write(pipe.second, "four", 4) == 4); }
    test::raw_pair pipe = test::pipe_pair();
    test::raw_pair other = test::pipe_pair();
};

} // namespace

TEST_SUITE_BEGIN("op/read");

TEST_CASE("read, full: a buffer is filled when that many bytes are there") {
    test::on_every_engine([]() -> gyre::task<> {
        reading which;
        REQUIRE(::write(which.pipe.second, "eight and more", 14) == 14);
        const auto moved = co_await which.begin();
        CHECK(moved.value() == 8);
        CHECK(text_of(which.buffer) == "eight an");
    });
}

TEST_CASE("read, short: what is there is the result, however large the buffer") {
    test::on_every_engine([]() -> gyre::task<> {
        reading which;
        which.make_ready();
        const auto moved = co_await which.begin();
        CHECK(text_of(std::span(which.buffer).first(moved.value())) == "four");
    });
}

TEST_CASE("read, peer error: a pipe without a writer has ended") {
    test::on_every_engine([]() -> gyre::task<> {
        reading which;
        which.pipe.second.close();
        const auto moved = co_await which.begin();
        CHECK(moved.value() == 0);
    });
}

TEST_CASE("read, stop before submission: it takes no entry and leaves the bytes") {
    test::on_every_engine(refused_before<reading>);
}
TEST_CASE("read, stop in flight: it yields ECANCELED, and bytes that come later stay") {
    test::on_every_engine(canceled_in_flight<reading>);
}
TEST_CASE("read, stop after completion: bytes that moved are the result") {
    test::on_every_engine(canceled_after<reading>);
}
TEST_CASE("read, submission queue full: many more reads than entries all complete") {
    test::on_every_engine(tiny_submission_queue(), []() -> gyre::task<> {
        co_await many<reading>(100);
        CHECK(counters().submission_queue_full > 0);
    });
}
TEST_CASE("read, completion queue overflow: no completion is lost, overflow is counted") {
    test::on_every_engine(tiny_completion_queue(), []() -> gyre::task<> {
        co_await many<reading>(200);
        CHECK(counters().completion_queue_overflow > 0);
    });
}
TEST_CASE("read, destroyed while idle: it was never begun; one in flight ends first") {
    test::on_every_engine(destroyed<reading>);
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("op/write");

TEST_CASE("write, full: bytes that fit are taken whole") {
    test::on_every_engine([]() -> gyre::task<> {
        writing which;
        which.make_ready();
        const auto moved = co_await which.begin();
        CHECK(moved.value() == 4);
        std::array<char, 8> text;
        CHECK(::read(which.pipe.first, text.data(), text.size()) == 4);
        CHECK(std::string_view(text.data(), 4) == "four");
    });
}

TEST_CASE("write, short: more than the pipe takes is written in part") {
    test::on_every_engine([]() -> gyre::task<> {
        writing which;
        which.make_ready();
        const std::vector<std::byte> much(100'000);
        const auto moved = co_await gyre::op::write(which.pipe.second, much);
        CHECK(moved.value() == 4096);
    });
}

TEST_CASE("write, peer error: a pipe without a reader yields EPIPE, also to one that waits") {
    test::on_every_engine([]() -> gyre::task<> {
        const no_sigpipe ignored;
        writing which;
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto moved = co_await which.begin();
                CHECK(moved.error() == std::errc::broken_pipe);
            });
            co_await settled();
            which.pipe.first.close();
        });
    });
}

TEST_CASE("write, stop before submission: it takes no entry and writes nothing") {
    test::on_every_engine(refused_before<writing>);
}
TEST_CASE("write, stop in flight: it yields ECANCELED, and none of its bytes moved") {
    test::on_every_engine(canceled_in_flight<writing>);
}
TEST_CASE("write, stop after completion: bytes that were taken are the result") {
    test::on_every_engine(canceled_after<writing>);
}
TEST_CASE("write, submission queue full: many more writes than entries all complete") {
    test::on_every_engine(tiny_submission_queue(), []() -> gyre::task<> {
        co_await many<writing>(100);
        CHECK(counters().submission_queue_full > 0);
    });
}
TEST_CASE("write, completion queue overflow: no completion is lost, overflow is counted") {
    test::on_every_engine(tiny_completion_queue(), []() -> gyre::task<> {
        co_await many<writing>(200);
        CHECK(counters().completion_queue_overflow > 0);
    });
}
TEST_CASE("write, destroyed while idle: it was never begun; one in flight ends first") {
    test::on_every_engine(destroyed<writing>);
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("op/splice");

TEST_CASE("splice, full: as many bytes as were asked for move when they are there") {
    test::on_every_engine([]() -> gyre::task<> {
        splicing which;
        REQUIRE(::write(which.pipe.second, "eight and more", 14) == 14);
        const auto moved = co_await which.begin();
        CHECK(moved.value() == 8);
        std::array<char, 16> text;
        CHECK(::read(which.other.first, text.data(), text.size()) == 8);
        CHECK(std::string_view(text.data(), 8) == "eight an");
        CHECK(::read(which.pipe.first, text.data(), text.size()) == 6);
    });
}

TEST_CASE("splice, short: what is there moves, however much was asked for") {
    test::on_every_engine([]() -> gyre::task<> {
        splicing which;
        which.make_ready();
        const auto moved = co_await which.begin();
        CHECK(moved.value() == 4);
    });
}

TEST_CASE("splice, peer error: EPIPE where nobody reads, 0 where nobody writes") {
    test::on_every_engine([]() -> gyre::task<> {
        const no_sigpipe ignored;
        splicing which;
        which.make_ready();
        which.other.first.close();
        const auto moved = co_await which.begin();
        CHECK(moved.error() == std::errc::broken_pipe);
        splicing ended;
        ended.pipe.second.close();
        const auto end = co_await ended.begin();
        CHECK(end.value() == 0);
    });
}

TEST_CASE("splice, stop before submission: it takes no entry and moves nothing") {
    test::on_every_engine(refused_before<splicing>);
}
TEST_CASE("splice, stop in flight: it yields ECANCELED, and bytes that come later stay") {
    test::on_every_engine(canceled_in_flight<splicing>);
}
TEST_CASE("splice, stop after completion: bytes that moved are the result") {
    test::on_every_engine(canceled_after<splicing>);
}
TEST_CASE("splice, submission queue full: many more splices than entries all complete") {
    test::on_every_engine(tiny_submission_queue(), []() -> gyre::task<> {
        co_await many<splicing>(40);
        CHECK(counters().submission_queue_full > 0);
    });
}
TEST_CASE("splice, completion queue overflow: no completion is lost") {
    test::on_every_engine(tiny_completion_queue(), []() -> gyre::task<> {
        co_await many<splicing>(40); // Its threads answer one by one: it need not overflow.
    });
}
TEST_CASE("splice, destroyed while idle: it was never begun; one in flight ends first") {
    test::on_every_engine(destroyed<splicing>);
}

TEST_SUITE_END();
