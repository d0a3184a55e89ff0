// What holds for every operation of a stream and a listener: how it begins, ends and is stopped.

#include <gyre/operation/operation.hpp>
#include <gyre/operation/recv.hpp>
#include <gyre/operation/send.hpp>
#include <gyre/scheduler/counters.hpp>
#include <gyre/scheduler/run_loop.hpp>
#include <gyre/scheduler/waiter.hpp>

#include "support/test.hpp"

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <system_error>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;

namespace {

namespace uapi = gyre::detail::uapi;

gyre::scheduler_options tiny_submission_queue() {
    return {.submission_entries = 2, .completion_entries = 64};
}

gyre::scheduler_options tiny_completion_queue() {
    return {.submission_entries = 8, .completion_entries = 8};
}

gyre::scheduler_counters counters() {
    return gyre::scheduler::current().counters();
}

// Fills what `from` can send before its peer reads: the next send has to wait.
void fill(gyre::stream& from) {
    const std::vector<std::byte> some(65536);
    while (::send(from.native_handle(), some.data(), some.size(), MSG_DONTWAIT) > 0) {
    }
}

// An endpoint that neither accepts nor refuses: a listener whose backlog is full.
struct silent_endpoint {
    silent_endpoint() : listener(gyre::listener::bind("127.0.0.1:0", {.backlog = 0})) {
        at = listener.local_endpoint().value();
        for (int& fd : fillers) {
            fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
            const int answer = ::connect(
                fd, static_cast<const sockaddr*>(at.data()), static_cast<socklen_t>(at.size())
            );
            CHECK((answer == 0 || errno == EINPROGRESS));
        }
    }
    ~silent_endpoint() {
        for (const int fd : fillers) {
            ::close(fd);
        }
    }
    silent_endpoint(const silent_endpoint&) = delete;
    silent_endpoint& operator=(const silent_endpoint&) = delete;

    gyre::listener listener;
    gyre::endpoint at;
    int fillers[8];
};

// Connects without the scheduler: over loopback that does not wait.
void connect_now(int fd, const gyre::endpoint& to) {
    const auto* address = static_cast<const sockaddr*>(to.data());
    REQUIRE(::connect(fd, address, static_cast<socklen_t>(to.size())) == 0);
}

// Runs `body(scope)` so that a cancel of the scope reaches what it awaits.
template <class Body>
gyre::task<> in_scope(Body body) {
    co_await gyre::with_scope(body);
}

// A waiter that only counts: an operation can be started and destroyed without a task.
struct counting_waiter : gyre::detail::waiter {
    counting_waiter() noexcept
        : waiter([](waiter& base) noexcept { ++static_cast<counting_waiter&>(base).told; }) {}
    int told = 0;
};

// An operation on its own, as an awaiting frame would hold it, so that a test can destroy it.
template <class Description>
struct started {
    explicit started(Description&& from) : description(std::move(from)), awaiter(description) {
        gyre::detail::run_loop& loop = *gyre::detail::run_loop::current();
        CHECK(!awaiter.start({&loop, &stop, nullptr}, told));
    }
    gyre::detail::stop_state stop;
    counting_waiter told;
    Description description;
    gyre::detail::operation_awaiter<Description> awaiter;
};

} // namespace

TEST_SUITE_BEGIN("operation/recv");

TEST_CASE("recv, stop before submission: it takes no entry and yields ECANCELED") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            const auto submissions = counters().submissions;
            std::array<std::byte, 8> buffer;
            const auto received = co_await pair.first.recv(buffer);
            CHECK(received.error() == std::errc::operation_canceled);
            CHECK(counters().submissions == submissions);
            CHECK(counters().refusals == 1);
        });
    });
}

TEST_CASE("recv, stop in flight: it yields ECANCELED, and the bytes that come later stay") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::array<std::byte, 8> buffer;
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto received = co_await pair.server.recv(buffer);
                CHECK(received.error() == std::errc::operation_canceled);
            });
            co_await gyre::yield();
            co_await gyre::yield();
            scope.cancel();
        });
        const auto sent = co_await pair.client.send(test::bytes_of("kept"));
        CHECK(sent);
        const auto received = co_await pair.server.recv(buffer);
        CHECK(received.value() == 4);
        CHECK(counters().cancels_found == 1);
    });
}

TEST_CASE("recv, stop after completion: it yields the bytes that moved") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        std::array<std::byte, 8> buffer;
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto received = co_await pair.first.recv(buffer);
                CHECK(received.value() == 5);
                CHECK(gyre::this_task::canceled());
            });
            co_await gyre::yield();
            co_await gyre::yield();
            // The send completes with the receive, before this task goes on and cancels.
            const auto sent = co_await pair.second.send(test::bytes_of("bytes"));
            CHECK(sent);
            scope.cancel();
        });
    });
}

TEST_CASE("recv stopped at any moment yields its bytes or leaves them in the socket") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::uint64_t sent_bytes = 0;
        std::uint64_t received_bytes = 0;
        for (int round = 0; round < 500; ++round) {
            co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    std::array<std::byte, 64> buffer;
                    const auto received = co_await pair.server.recv(buffer);
                    received_bytes += received.has_value() ? *received : 0;
                });
                for (int turn = 0; turn < round % 4; ++turn) {
                    co_await gyre::yield();
                }
                const auto sent = ::send(pair.client.native_handle(), "abc", 3, MSG_DONTWAIT);
                REQUIRE(sent == 3);
                sent_bytes += 3;
                for (int turn = 0; turn < round % 3; ++turn) {
                    co_await gyre::yield();
                }
                scope.cancel();
            });
        }
        std::array<std::byte, 4096> rest;
        for (auto left = pair.server.try_recv(rest); left; left = pair.server.try_recv(rest)) {
            received_bytes += *left;
        }
        CHECK(received_bytes == sent_bytes);
    });
}

TEST_CASE("recv, submission queue full: many more receives than entries all complete") {
    test::on_every_engine(tiny_submission_queue(), []() -> gyre::task<> {
        std::vector<gyre::stream_pair> pairs;
        for (int count = 0; count < 200; ++count) {
            pairs.push_back(gyre::stream::pair());
        }
        int received_count = 0;
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            for (gyre::stream_pair& pair : pairs) {
                scope.spawn([&pair, &received_count]() -> gyre::task<> {
                    std::array<std::byte, 8> buffer;
                    const auto received = co_await pair.first.recv(buffer);
                    CHECK(received.value() == 2);
                    ++received_count;
                });
                scope.spawn([&pair]() -> gyre::task<> {
                    const auto sent = co_await pair.second.send(test::bytes_of("ab"));
                    CHECK(sent.value() == 2);
                });
            }
            co_return;
        });
        CHECK(received_count == 200);
        CHECK(counters().submission_queue_full > 0);
        CHECK(counters().stray_completions == 0);
    });
}

TEST_CASE("recv, submission queue full: many receives canceled at once all end") {
    test::on_every_engine(tiny_submission_queue(), []() -> gyre::task<> {
        std::vector<gyre::stream_pair> pairs;
        for (int count = 0; count < 200; ++count) {
            pairs.push_back(gyre::stream::pair());
        }
        int canceled = 0;
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            for (gyre::stream_pair& pair : pairs) {
                scope.spawn([&pair, &canceled]() -> gyre::task<> {
                    std::array<std::byte, 8> buffer;
                    const auto received = co_await pair.first.recv(buffer);
                    canceled += received.error() == std::errc::operation_canceled ? 1 : 0;
                });
            }
            for (int turn = 0; turn < 5; ++turn) {
                co_await gyre::yield();
            }
            scope.cancel();
        });
        CHECK(canceled == 200);
        CHECK(gyre::scheduler::current().operations_in_flight() == 0);
    });
}

TEST_CASE("recv, completion queue overflow: no completion is lost, overflow is counted") {
    test::on_every_engine(tiny_completion_queue(), []() -> gyre::task<> {
        std::vector<gyre::stream_pair> pairs;
        for (int count = 0; count < 500; ++count) {
            pairs.push_back(gyre::stream::pair());
        }
        int received_count = 0;
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            for (gyre::stream_pair& pair : pairs) {
                scope.spawn([&pair, &received_count]() -> gyre::task<> {
                    std::array<std::byte, 8> buffer;
                    const auto received = co_await pair.first.recv(buffer);
                    CHECK(received.value() == 1);
                    ++received_count;
                });
            }
            for (int turn = 0; turn < 5; ++turn) {
                co_await gyre::yield();
            }
            // All of them complete between two entries of the kernel.
            for (gyre::stream_pair& pair : pairs) {
                REQUIRE(::send(pair.second.native_handle(), "x", 1, 0) == 1);
            }
        });
        CHECK(received_count == 500);
        CHECK(counters().completion_queue_overflow > 0);
        CHECK(counters().stray_completions == 0);
    });
}

TEST_CASE("recv destroyed in flight ends first, so its memory is free to use") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        {
            auto buffer = std::make_unique<std::array<std::byte, 4096>>();
            started forgotten(pair.first.recv(*buffer));
            co_await gyre::yield();
            co_await gyre::yield();
            REQUIRE(gyre::scheduler::current().operations_in_flight() == 1);
        } // First the operation goes, then the buffer.
        CHECK(counters().forced_drains == 1);
        CHECK(gyre::scheduler::current().operations_in_flight() == 0);

        const auto sent = co_await pair.second.send(test::bytes_of("later"));
        CHECK(sent);
        std::array<std::byte, 8> buffer;
        const auto received = co_await pair.first.recv(buffer);
        CHECK(received.value() == 5);
    });
}

TEST_CASE("recv, destroyed while idle: it was never begun") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        std::array<std::byte, 8> buffer;
        {
            auto description = pair.first.recv(buffer);
            const gyre::detail::operation_awaiter<gyre::recv_operation> idle(description);
        }
        CHECK(counters().forced_drains == 0);
        const auto sent = co_await pair.second.send(test::bytes_of("x"));
        CHECK(sent);
        const auto received = co_await pair.first.recv(buffer);
        CHECK(received.value() == 1);
    });
}

TEST_CASE("200 receives destroyed in flight on two submission entries all end first") {
    test::on_every_engine(tiny_submission_queue(), []() -> gyre::task<> {
        std::vector<gyre::stream_pair> pairs;
        for (int count = 0; count < 200; ++count) {
            pairs.push_back(gyre::stream::pair());
        }
        {
            std::array<std::byte, 8> buffer;
            std::vector<std::unique_ptr<started<gyre::recv_operation>>> all;
            for (gyre::stream_pair& pair : pairs) {
                all.push_back(std::make_unique<started<gyre::recv_operation>>(pair.first.recv(buffer
                )));
            }
            co_await gyre::yield();
        }
        CHECK(counters().forced_drains == 200);
        CHECK(gyre::scheduler::current().operations_in_flight() == 0);
    });
}

TEST_CASE("a task destroyed in flight ends its operation first") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        bool went_on = false;
        const auto reader = [&]() -> gyre::task<> {
            auto buffer = std::make_unique<std::array<std::byte, 64>>();
            const auto received = co_await pair.first.recv(*buffer);
            CHECK(received);
            went_on = true;
        };
        {
            gyre::detail::stop_state stop;
            counting_waiter told;
            auto made = reader();
            gyre::detail::task_awaiter<void> awaiter(made);
            awaiter.start({gyre::detail::run_loop::current(), &stop, nullptr}, told);
            co_await gyre::yield();
            co_await gyre::yield();
            REQUIRE(gyre::scheduler::current().operations_in_flight() == 1);
        }
        CHECK(!went_on);
        CHECK(counters().forced_drains == 1);
        CHECK(gyre::scheduler::current().operations_in_flight() == 0);
    });
}

TEST_CASE("a task destroyed before it ran for the first time does not run") {
    test::on_every_engine([]() -> gyre::task<> {
        bool ran = false;
        const auto other = [&]() -> gyre::task<> {
            ran = true;
            co_return;
        };
        {
            gyre::detail::stop_state stop;
            counting_waiter told;
            auto made = other();
            gyre::detail::task_awaiter<void> awaiter(made);
            awaiter.start({gyre::detail::run_loop::current(), &stop, nullptr}, told);
        }
        co_await gyre::yield();
        CHECK(!ran);
    });
}

TEST_CASE("recv on a descriptor that is O_NONBLOCK waits all the same") {
    test::on_every_engine([]() -> gyre::task<> {
        int fds[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
        auto first = gyre::stream::adopt(fds[0]);
        auto second = gyre::stream::adopt(fds[1]);
        std::array<std::byte, 8> buffer;
        const auto turns = counters().turns;
        const auto late = co_await gyre::with_timeout(first.recv(buffer), 20ms);
        CHECK(late.error() == gyre::errc::timed_out);
        CHECK(counters().turns - turns < 20);
    });
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("operation/send");

TEST_CASE("send, stop before submission: it takes no entry and yields ECANCELED") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            const auto sent = co_await pair.first.send(test::bytes_of("x"));
            CHECK(sent.error() == std::errc::operation_canceled);
        });
        std::array<std::byte, 8> buffer;
        CHECK(pair.second.try_recv(buffer).error() == std::errc::resource_unavailable_try_again);
    });
}

TEST_CASE("send, stop in flight: it yields ECANCELED, and none of its bytes moved") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        fill(pair.first);
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto sent = co_await pair.first.send(test::bytes_of("never sent"));
                CHECK(sent.error() == std::errc::operation_canceled);
            });
            co_await gyre::yield();
            co_await gyre::yield();
            CHECK(gyre::scheduler::current().operations_in_flight() == 1);
            scope.cancel();
        });
        std::vector<std::byte> all(65536);
        for (auto got = pair.second.try_recv(all); got; got = pair.second.try_recv(all)) {
            for (std::size_t index = 0; index < *got; ++index) {
                REQUIRE(all[index] == std::byte{0});
            }
        }
    });
}

TEST_CASE("send, stop after completion: it yields the bytes that moved") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            const auto sent = co_await pair.first.send(test::bytes_of("bytes"));
            scope.cancel();
            CHECK(sent.value() == 5);
        });
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto sent = co_await pair.first.send(test::bytes_of("bytes"));
                CHECK(sent.value() == 5);
                CHECK(gyre::this_task::canceled());
            });
            // In the next turn it is handed over and completes; this task goes on first and
            // cancels.
            co_await gyre::yield();
            scope.cancel();
        });
    });
}

TEST_CASE("send, submission queue full: each of many sends moves its bytes once") {
    test::on_every_engine(tiny_submission_queue(), []() -> gyre::task<> {
        std::vector<gyre::stream_pair> pairs;
        for (int count = 0; count < 100; ++count) {
            pairs.push_back(gyre::stream::pair());
        }
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            for (gyre::stream_pair& pair : pairs) {
                scope.spawn([&pair]() -> gyre::task<> {
                    const auto sent = co_await gyre::send_all(pair.first, test::bytes_of("abc"));
                    CHECK(sent);
                });
            }
            co_return;
        });
        for (gyre::stream_pair& pair : pairs) {
            std::array<std::byte, 8> buffer;
            CHECK(pair.second.try_recv(buffer).value() == 3);
        }
    });
}

TEST_CASE("send, completion queue overflow: no completion is lost") {
    test::on_every_engine(tiny_completion_queue(), []() -> gyre::task<> {
        std::vector<gyre::stream_pair> pairs;
        for (int count = 0; count < 300; ++count) {
            pairs.push_back(gyre::stream::pair());
            fill(pairs.back().first);
        }
        int sent_count = 0;
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            for (gyre::stream_pair& pair : pairs) {
                scope.spawn([&pair, &sent_count]() -> gyre::task<> {
                    const auto sent = co_await pair.first.send(test::bytes_of("x"));
                    CHECK(sent.value() == 1);
                    ++sent_count;
                });
            }
            for (int turn = 0; turn < 5; ++turn) {
                co_await gyre::yield();
            }
            std::vector<std::byte> all(1 << 20);
            for (gyre::stream_pair& pair : pairs) {
                while (::recv(pair.second.native_handle(), all.data(), all.size(), MSG_DONTWAIT) > 0
                ) {
                }
            }
        });
        CHECK(sent_count == 300);
        CHECK(counters().completion_queue_overflow > 0);
    });
}

TEST_CASE("send destroyed in flight ends first, and send destroyed while idle sends nothing") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        {
            auto description = pair.first.send(test::bytes_of("x"));
            const gyre::detail::operation_awaiter<gyre::send_operation> idle(description);
        }
        std::array<std::byte, 8> buffer;
        CHECK(pair.second.try_recv(buffer).error() == std::errc::resource_unavailable_try_again);
        CHECK(counters().forced_drains == 0);

        fill(pair.first);
        {
            auto bytes = std::make_unique<std::array<std::byte, 4096>>();
            started forgotten(pair.first.send(*bytes));
            co_await gyre::yield();
            co_await gyre::yield();
        }
        CHECK(counters().forced_drains == 1);
        CHECK(gyre::scheduler::current().operations_in_flight() == 0);
    });
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("operation/accept");

TEST_CASE("accept, stop before submission: it yields ECANCELED, and the connection stays") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        auto client = co_await gyre::stream::connect(listener.local_endpoint().value());
        REQUIRE(client);
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            const auto refused = co_await listener.accept();
            CHECK(refused.error() == std::errc::operation_canceled);
        });
        const auto accepted = co_await listener.accept();
        CHECK(accepted);
    });
}

TEST_CASE("accept, stop in flight: it yields ECANCELED") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto accepted = co_await listener.accept();
                CHECK(accepted.error() == std::errc::operation_canceled);
            });
            co_await gyre::yield();
            co_await gyre::yield();
            scope.cancel();
        });
        auto client = co_await gyre::stream::connect(listener.local_endpoint().value());
        REQUIRE(client);
        const auto accepted = co_await listener.accept();
        CHECK(accepted);
    });
}

TEST_CASE("accept, stop after completion: it yields its stream") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        const auto at = listener.local_endpoint().value();
        const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto accepted = co_await listener.accept();
                CHECK(accepted);
                CHECK(gyre::this_task::canceled());
            });
            co_await gyre::yield();
            co_await gyre::yield();
            connect_now(client, at);
            // In the next turn the accept completes, and this task goes on first and cancels.
            co_await gyre::yield();
            scope.cancel();
        });
        ::close(client);
    });
}

TEST_CASE("accept stopped as a client connects leaks no descriptor") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        const auto at = listener.local_endpoint().value();
        const std::size_t before = test::open_descriptors();
        for (int round = 0; round < 200; ++round) {
            const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    const auto accepted = co_await listener.accept();
                    static_cast<void>(accepted); // Either is right; nothing may be left open.
                });
                for (int turn = 0; turn < round % 3; ++turn) {
                    co_await gyre::yield();
                }
                connect_now(client, at);
                for (int turn = 0; turn < round % 2; ++turn) {
                    co_await gyre::yield();
                }
                scope.cancel();
            });
            ::close(client);
        }
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("accept destroyed with a stream that nobody took closes it") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        auto client = co_await gyre::stream::connect(listener.local_endpoint().value());
        REQUIRE(client);
        const std::size_t before = test::open_descriptors();
        {
            started untaken(listener.accept());
            co_await gyre::yield();
            co_await gyre::yield();
            REQUIRE(untaken.told.told == 1);
            CHECK(test::open_descriptors() == before + 1);
        }
        CHECK(test::open_descriptors() == before);
        CHECK(counters().reclaimed == 1);
        CHECK(counters().forced_drains == 0);
        std::array<std::byte, 8> buffer;
        const auto ended = co_await client->recv(buffer);
        CHECK((!ended || *ended == 0)); // The peer is told.
    });
}

TEST_CASE("accept destroyed in flight ends first, whether or not a client came") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        const auto at = listener.local_endpoint().value();
        {
            started forgotten(listener.accept());
            co_await gyre::yield();
            co_await gyre::yield();
        }
        CHECK(counters().forced_drains == 1);
        CHECK(counters().reclaimed == 0);
        const std::size_t before = test::open_descriptors();
        const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        {
            started forgotten(listener.accept());
            co_await gyre::yield();
            co_await gyre::yield();
            connect_now(client, at);
        }
        ::close(client);
        CHECK(counters().forced_drains == 2);
        CHECK(gyre::scheduler::current().operations_in_flight() == 0);
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("accept, destroyed while idle: it accepts nobody") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        {
            auto description = listener.accept();
            const gyre::detail::operation_awaiter<gyre::accept_operation> idle(description);
        }
        CHECK(counters().forced_drains == 0);
        co_return;
    });
}

TEST_CASE("accept with a full submission queue and an overflowing completion queue: none is lost") {
    for (const auto& options : {tiny_submission_queue(), tiny_completion_queue()}) {
        test::on_every_engine(options, []() -> gyre::task<> {
            std::vector<gyre::listener> listeners;
            for (int count = 0; count < 60; ++count) {
                listeners.push_back(gyre::listener::bind("127.0.0.1:0"));
            }
            int accepted_count = 0;
            int connected_count = 0;
            co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
                for (gyre::listener& listener : listeners) {
                    scope.spawn([&]() -> gyre::task<> {
                        const auto accepted = co_await listener.accept();
                        accepted_count += accepted ? 1 : 0;
                    });
                    scope.spawn([&]() -> gyre::task<> {
                        const auto at = listener.local_endpoint().value();
                        const auto connected = co_await gyre::stream::connect(at);
                        connected_count += connected ? 1 : 0;
                    });
                }
                co_return;
            });
            CHECK(accepted_count == 60);
            CHECK(connected_count == 60);
            CHECK(counters().stray_completions == 0);
        });
    }
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("operation/connect");

TEST_CASE("connect, stop before submission: it opens no socket and yields ECANCELED") {
    test::on_every_engine([]() -> gyre::task<> {
        const gyre::listener listener = gyre::listener::bind("127.0.0.1:0");
        const auto at = listener.local_endpoint().value();
        const std::size_t before = test::open_descriptors();
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            const auto connected = co_await gyre::stream::connect(at);
            CHECK(connected.error() == std::errc::operation_canceled);
            CHECK(test::open_descriptors() == before);
        });
    });
}

TEST_CASE("connect, stop in flight: it yields ECANCELED and closes its socket") {
    test::on_every_engine([]() -> gyre::task<> {
        const silent_endpoint nobody;
        const std::size_t before = test::open_descriptors();
        const auto late = co_await gyre::with_timeout(gyre::stream::connect(nobody.at), 20ms);
        CHECK(late.error() == gyre::errc::timed_out);
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto connected = co_await gyre::stream::connect(nobody.at);
                CHECK(connected.error() == std::errc::operation_canceled);
            });
            co_await gyre::yield();
            co_await gyre::yield();
            scope.cancel();
        });
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("connect, stop after completion: it yields its stream") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        const auto at = listener.local_endpoint().value();
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            auto connected = co_await gyre::stream::connect(at);
            scope.cancel();
            REQUIRE(connected);
            CHECK(connected->is_open());
        });
    });
}

TEST_CASE("connect destroyed in flight ends first and closes its socket") {
    test::on_every_engine([]() -> gyre::task<> {
        const silent_endpoint nobody;
        const std::size_t before = test::open_descriptors();
        {
            started forgotten(gyre::stream::connect(nobody.at));
            co_await gyre::yield();
            co_await gyre::yield();
            CHECK(test::open_descriptors() == before + 1);
        }
        CHECK(counters().forced_drains == 1);
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("connect destroyed with a stream that nobody took closes it, and while idle has none") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("127.0.0.1:0");
        const auto at = listener.local_endpoint().value();
        const std::size_t before = test::open_descriptors();
        {
            started untaken(gyre::stream::connect(at));
            while (untaken.told.told == 0) {
                co_await gyre::yield();
            }
        }
        CHECK(test::open_descriptors() == before);
        {
            auto description = gyre::stream::connect(at);
            const gyre::detail::operation_awaiter<gyre::connect_operation> idle(description);
        }
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("connect that cannot begin yields its error and leaves no socket") {
    test::on_every_engine([]() -> gyre::task<> {
        const std::size_t before = test::open_descriptors();
        const auto nowhere = co_await gyre::stream::connect(gyre::endpoint());
        CHECK(!nowhere);
        const gyre::listener listener = gyre::listener::bind("127.0.0.1:0");
        const auto at = listener.local_endpoint().value();
        const auto taken = co_await gyre::stream::connect(at, {.from = at});
        CHECK(taken.error() == std::errc::address_in_use);
        CHECK(test::open_descriptors() == before + 1);
    });
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("operation/timeouts");

TEST_CASE("10,000 limits that pass at once on 8 submission entries end 10,000 receives") {
    test::on_every_engine({.submission_entries = 8}, []() -> gyre::task<> {
        std::vector<gyre::stream_pair> pairs;
        for (int count = 0; count < 5000; ++count) {
            pairs.push_back(gyre::stream::pair());
        }
        int timed_out = 0;
        const auto at_the_same_time = [&](gyre::stream& from) -> gyre::task<> {
            std::array<std::byte, 8> buffer;
            const auto received = co_await gyre::with_timeout(from.recv(buffer), 100ms);
            timed_out += received.error() == gyre::errc::timed_out ? 1 : 0;
        };
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            for (gyre::stream_pair& pair : pairs) {
                scope.spawn(at_the_same_time, std::ref(pair.first));
                scope.spawn(at_the_same_time, std::ref(pair.second));
            }
            co_return;
        });
        CHECK(timed_out == 10'000);
        CHECK(counters().cancels_found == 10'000);
        CHECK(counters().timers_fired >= 10'000);
        CHECK(counters().stray_completions == 0);
        CHECK(gyre::scheduler::current().operations_in_flight() == 0);
    });
}

TEST_CASE("limits that pass as data arrives end each receive once, with the data or without") {
    test::on_every_engine({.submission_entries = 4, .completion_entries = 8}, []() -> gyre::task<> {
        std::vector<gyre::stream_pair> pairs;
        for (int count = 0; count < 500; ++count) {
            pairs.push_back(gyre::stream::pair());
        }
        std::size_t moved = 0;
        std::size_t timed_out = 0;
        co_await in_scope([&](gyre::scope& scope) -> gyre::task<> {
            for (gyre::stream_pair& pair : pairs) {
                scope.spawn([&]() -> gyre::task<> {
                    std::array<std::byte, 8> buffer;
                    const auto received = co_await gyre::with_timeout(pair.first.recv(buffer), 5ms);
                    moved += received ? *received : std::size_t{0};
                    timed_out += received ? 0U : 1U;
                });
            }
            const auto slept = co_await gyre::sleep_for(4ms);
            CHECK(slept);
            for (gyre::stream_pair& pair : pairs) {
                REQUIRE(::send(pair.second.native_handle(), "x", 1, 0) == 1);
                co_await gyre::yield();
            }
        });
        std::size_t left = 0;
        for (gyre::stream_pair& pair : pairs) {
            std::array<std::byte, 8> buffer;
            const auto rest = pair.first.try_recv(buffer);
            left += rest ? *rest : std::size_t{0};
        }
        CHECK(moved + timed_out == pairs.size());
        CHECK(moved + left == pairs.size());
    });
}

TEST_SUITE_END();
