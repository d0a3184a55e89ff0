// What the two engines in software have in common and a program cannot see through a scheduler.

#include "ring/software.hpp" // IWYU pragma: keep (it compiles alone)

#include <gyre/ring/engine.hpp>
#include <gyre/ring/queues.hpp>
#include <gyre/ring/uapi.hpp>

#include "support/raw_engine.hpp"
#include "support/test.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/un.h>
#include <unistd.h>

using namespace std::chrono_literals;
using test::bytes_of;
using test::never;
using test::submission;
namespace uapi = test::uapi;

namespace {

constexpr std::uint64_t wake = gyre::detail::engine::wake_user_data;

// Connects a UDP socket to a port where nobody is, but somebody was who has sent one byte.
test::raw_fd connected_to_nobody() {
    test::raw_fd taken(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    gyre::endpoint at("127.0.0.1:0");
    auto size = static_cast<socklen_t>(at.size());
    REQUIRE(::bind(taken, static_cast<const sockaddr*>(at.data()), size) == 0);
    REQUIRE(::getsockname(taken, static_cast<sockaddr*>(at.data()), &size) == 0);
    test::raw_fd sender(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(sender, static_cast<const sockaddr*>(at.data()), size) == 0);
    REQUIRE(::getsockname(sender, static_cast<sockaddr*>(at.data()), &size) == 0);
    REQUIRE(::sendto(taken, "!", 1, 0, static_cast<const sockaddr*>(at.data()), size) == 1);
    taken.close();
    return sender;
}

void fill(int fd) {
    const std::array<std::byte, 4096> some{};
    while (::send(fd, some.data(), some.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
}

} // namespace

TEST_SUITE_BEGIN("ring/software");

TEST_CASE("a full completion queue leaves operations pending, in their order, and loses none") {
    test::on_software_engines(
        [](test::raw_engine& engine) {
            auto pair = test::socket_pair(SOCK_SEQPACKET);
            std::array<std::array<std::byte, 4>, 6> buffers;
            for (std::size_t index = 0; index < buffers.size(); ++index) {
                engine.queue(test::recv_entry(pair.first, buffers[index]), index + 1);
                REQUIRE(engine.submit() == 1);
            }
            for (const char* text : {"1", "2", "3", "4", "5", "6"}) {
                REQUIRE(::send(pair.second, text, 1, 0) == 1);
            }
            engine.queue(test::nop_entry(), 7);

            CHECK(engine.submit() == 1);
            for (int count = 0; count < 10; ++count) {
                CHECK(engine.submit() == 0);
            }
            CHECK(engine->completions.waiting() == 4);
            CHECK(engine->overflown());
            CHECK(engine.submit() == 0);
            CHECK(engine->completions.waiting() == 4);

            std::array<bool, 8> seen{};
            for (int count = 0; count < 7; ++count) {
                const auto told = engine.next();
                REQUIRE(told.has_value());
                seen[told->user_data] = true;
                CHECK(told->result == (told->user_data == 7 ? 0 : 1));
            }
            CHECK(!engine->overflown());
            for (std::uint64_t name = 1; name <= 7; ++name) {
                CHECK(seen[name]);
            }
            for (std::size_t index = 0; index < buffers.size(); ++index) {
                CHECK(buffers[index][0] == static_cast<std::byte>('1' + index));
            }
        },
        4,
        4
    );
}

TEST_CASE("a full completion queue delays a cancel and a wake, and loses neither") {
    test::on_software_engines(
        [](test::raw_engine& engine) {
            auto pair = test::socket_pair();
            std::array<std::byte, 4> buffer;
            engine.queue(test::recv_entry(pair.first, buffer), 1);
            REQUIRE(engine.submit() == 1);
            for (const std::uint64_t name : {2U, 3U, 4U, 5U}) {
                engine.queue(test::nop_entry(), name);
            }
            REQUIRE(engine.submit() == 4);
            engine.queue(test::cancel_entry(1), 6);
            engine->wake();
            for (int count = 0; count < 10; ++count) {
                engine.submit();
            }
            CHECK(engine->completions.waiting() == 4);
            CHECK(engine->overflown());

            std::array<int, 7> results{};
            bool woken = false;
            for (int count = 0; count < 7; ++count) {
                const auto told = engine.next();
                REQUIRE(told.has_value());
                if (told->user_data == wake) {
                    woken = true;
                } else {
                    results[told->user_data] = told->result + 1000;
                }
            }
            CHECK(woken);
            CHECK(results[1] == 1000 - ECANCELED);
            CHECK(results[6] == 1000);
        },
        4,
        4
    );
}

TEST_CASE("a cancel answers 0 and its target ECANCELED, or ENOENT when there is none") {
    test::on_software_engines([](test::raw_engine& engine) {
        auto pair = test::socket_pair();
        std::array<std::byte, 4> buffer;
        engine.queue(test::cancel_entry(1), 9); // In front of its target.
        engine.queue(test::recv_entry(pair.first, buffer), 1);
        REQUIRE(engine.submit() == 2);
        CHECK(engine.one().result == -ENOENT);
        engine.queue(test::cancel_entry(1), 10);

        const auto target = engine.next();
        const auto cancel = engine.next();

        REQUIRE(target.has_value());
        REQUIRE(cancel.has_value());
        CHECK(target->user_data == 1);
        CHECK(target->result == -ECANCELED);
        CHECK(cancel->user_data == 10);
        CHECK(cancel->result == 0);
        CHECK(engine.result_of(test::cancel_entry(1)) == -ENOENT);
        CHECK(::send(pair.second, "kept", 4, 0) == 4);
        CHECK(engine.result_of(test::recv_entry(pair.first, buffer)) == 4);
    });
}

TEST_CASE("a cancel by descriptor, of all, by opcode and of any answers with the count") {
    test::on_software_engines([](test::raw_engine& engine) {
        auto one = test::socket_pair();
        auto other = test::socket_pair();
        std::array<std::byte, 4> buffer;
        const auto count_canceled = [&](const submission& cancel, int expected) {
            engine.queue(test::recv_entry(one.first, buffer), 1);
            engine.queue(test::poll_entry(one.first, POLLIN), 2);
            engine.queue(test::recv_entry(other.first, buffer), 3);
            REQUIRE(engine.submit() == 3);
            engine.queue(cancel, 9);
            int canceled = 0;
            int answer = -1000;
            while (answer == -1000) {
                const auto told = engine.next();
                REQUIRE(told.has_value());
                if (told->user_data == 9) {
                    answer = told->result;
                } else {
                    CHECK(told->result == -ECANCELED);
                    ++canceled;
                }
            }
            CHECK(canceled == expected);
            // And the rest, so that the next one begins anew.
            engine.queue(test::cancel_entry(0, uapi::cancel_any), 9);
            while (engine.one().user_data != 9) {
            }
            return answer;
        };

        CHECK(count_canceled(test::cancel_entry(0, uapi::cancel_fd, one.first), 1) == 0);
        CHECK(
            count_canceled(
                test::cancel_entry(0, uapi::cancel_fd | uapi::cancel_all, one.first), 2
            ) == 2
        );
        CHECK(count_canceled(test::cancel_entry(0, uapi::cancel_any), 3) == 3);
        CHECK(count_canceled(test::cancel_entry(3, uapi::cancel_all), 1) == 1);
        CHECK(count_canceled(test::cancel_entry(77, uapi::cancel_all), 0) == 0);
        submission by_opcode = test::cancel_entry(0, uapi::cancel_op | uapi::cancel_all);
        by_opcode.length = uapi::op_recv;
        CHECK(count_canceled(by_opcode, 2) == 2);
        CHECK(count_canceled(test::cancel_entry(0, 1U << 20), 0) == -EINVAL);
    });
}

TEST_CASE("what has arrived before a cancel is delivered: the cancel comes too late") {
    test::on_software_engines([](test::raw_engine& engine) {
        auto pair = test::socket_pair();
        std::array<std::byte, 4> buffer;
        engine.queue(test::recv_entry(pair.first, buffer), 1);
        REQUIRE(engine.submit() == 1);
        engine.queue(test::send_entry(pair.second, bytes_of("abc")), 2);
        engine.queue(test::cancel_entry(1), 3);

        std::array<int, 4> results{};
        for (int count = 0; count < 3; ++count) {
            const auto told = engine.next();
            REQUIRE(told.has_value());
            results[told->user_data] = told->result;
        }
        CHECK(results[1] == 3);
        CHECK(results[2] == 3);
        CHECK(results[3] == -ENOENT);
    });
}

TEST_CASE("MSG_WAITALL goes on until the buffer is full; a cancel yields what has moved") {
    test::on_software_engines([](test::raw_engine& engine) {
        auto pair = test::socket_pair();
        std::array<std::byte, 10> buffer;
        engine.queue(test::recv_entry(pair.first, buffer, MSG_WAITALL), 1);
        REQUIRE(engine.submit() == 1);
        REQUIRE(::send(pair.second, "1234", 4, 0) == 4);
        CHECK(engine.is_silent());
        REQUIRE(::send(pair.second, "567890", 6, 0) == 6);
        CHECK(engine.one().result == 10);
        CHECK(test::text_of(buffer) == "1234567890");

        engine.queue(test::recv_entry(pair.first, buffer, MSG_WAITALL), 1);
        REQUIRE(engine.submit() == 1);
        REQUIRE(::send(pair.second, "1234", 4, 0) == 4);
        CHECK(engine.is_silent());
        engine.queue(test::cancel_entry(1), 2);
        CHECK(engine.one().result == 4);
        CHECK(engine.one().result == 0);

        engine.queue(test::recv_entry(pair.first, buffer, MSG_WAITALL), 1);
        REQUIRE(::send(pair.second, "12", 2, 0) == 2);
        REQUIRE(engine.submit() == 1);
        pair.second.close();
        CHECK(engine.one().result == 2);
    });
}

TEST_CASE("a wake makes a wait return, before it or during it, and many are told as one") {
    test::on_software_engines([](test::raw_engine& engine) {
        engine->wake();
        engine->wake();
        engine->wake();
        CHECK(engine.one().user_data == wake);
        engine->woken();
        CHECK(engine.is_silent());

        for (int round = 0; round < 20; ++round) {
            std::thread waker([&] {
                std::this_thread::sleep_for(1ms);
                engine->wake();
            });
            const auto told = engine.next();
            waker.join();
            REQUIRE(told.has_value());
            CHECK(told->user_data == wake);
            engine->woken();
        }
        CHECK(engine.is_silent());
    });
}

TEST_CASE("a wake from a thread that polls nothing but the descriptor of the engine reaches it") {
    test::on_software_engines([](test::raw_engine& engine) {
        auto pair = test::socket_pair();
        auto other = test::socket_pair();
        std::array<std::byte, 4> buffer;
        const int fd = engine->pollable_descriptor();
        const auto is_readable = [&](int limit) {
            pollfd look = {fd, POLLIN, 0};
            return ::poll(&look, 1, limit) == 1;
        };
        engine.queue(test::recv_entry(pair.first, buffer), 1);
        fill(other.first);
        engine.queue(test::send_entry(other.first, bytes_of("x")), 2);
        engine.queue(test::recv_entry(other.first, buffer), 3);
        engine.submit();
        CHECK(!is_readable(0));

        engine->wake();
        CHECK(is_readable(1000));
        CHECK(engine.one().user_data == wake);
        CHECK(engine.is_silent());
        CHECK(!is_readable(0));

        REQUIRE(::send(pair.second, "x", 1, 0) == 1);
        CHECK(is_readable(1000));
        CHECK(engine.one().user_data == 1);
        CHECK(engine.is_silent());
        CHECK(!is_readable(0));
    });
}

TEST_CASE("a deadline is never early and at most a few milliseconds late") {
    test::on_software_engines([](test::raw_engine& engine) {
        std::int64_t best = INT64_MAX;
        for (const std::int64_t wish : {300'000, 1'000'000, 2'700'000, 10'000'000}) {
            const std::int64_t deadline = engine->now() + wish;
            CHECK(engine->enter(1, deadline) == -ETIME);
            CHECK(engine->now() >= deadline);
            best = std::min(best, engine->now() - deadline);
        }
        // A busy machine may be late itself, but not every time.
        for (int more = 0; more < 2000 && best >= 1'000'000; ++more) {
            const std::int64_t deadline = engine->now() + 1'000'000;
            CHECK(engine->enter(1, deadline) == -ETIME);
            best = std::min(best, engine->now() - deadline);
        }
        CHECK(best < 1'000'000);
        CHECK(engine->enter(1, engine->now() - 1) == -ETIME);
    });
}

TEST_CASE("a reset connection fails once with ECONNRESET, and then it has ended") {
    test::on_software_engines([](test::raw_engine& engine) {
        auto pair = test::tcp_sockets();
        std::array<std::byte, 4> buffer;
        engine.queue(test::recv_entry(pair.first, buffer), 1);
        REQUIRE(engine.submit() == 1);
        const linger hard = {1, 0};
        ::setsockopt(pair.second, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        pair.second.close();

        CHECK(engine.one().result == -ECONNRESET);
        CHECK(engine.result_of(test::recv_entry(pair.first, buffer)) == 0);
        CHECK(engine.result_of(test::send_entry(pair.first, bytes_of("x"))) == -EPIPE);
        CHECK(engine.is_silent());
    });
}

TEST_CASE("after a half-close one direction ends and the other goes on, without turning in vain") {
    test::on_software_engines([](test::raw_engine& engine) {
        auto pair = test::tcp_sockets();
        std::array<std::byte, 8> buffer;
        REQUIRE(::send(pair.second, "last", 4, 0) == 4);
        REQUIRE(::shutdown(pair.second, SHUT_WR) == 0);

        CHECK(engine.result_of(test::recv_entry(pair.first, buffer)) == 4);
        CHECK(engine.result_of(test::recv_entry(pair.first, buffer)) == 0);
        CHECK(engine.result_of(test::recv_entry(pair.first, buffer)) == 0);
        fill(pair.first);
        engine.queue(test::send_entry(pair.first, bytes_of("more")), 1);
        const auto before = engine->now();
        CHECK(!engine.next(20ms).has_value());
        CHECK(engine->now() - before >= 20'000'000);
        std::array<std::byte, 65536> drained;
        while (::recv(pair.second, drained.data(), drained.size(), MSG_DONTWAIT) > 0) {
        }
        CHECK(engine.one().result == 4);
    });
}

TEST_CASE("an end that comes behind the last bytes is seen by the receive that waits for it") {
    test::on_software_engines([](test::raw_engine& engine) {
        for (int round = 0; round < 50; ++round) {
            auto pair = test::tcp_sockets();
            std::array<std::byte, 8> buffer;
            engine.queue(test::recv_entry(pair.first, buffer), 1);
            REQUIRE(engine.submit() == 1); // Registered, and it waits.
            REQUIRE(::send(pair.second, "abc", 3, 0) == 3);
            if (round % 2 == 0) {
                pair.second.close();
            }
            CHECK(engine.one().result == 3);
            pair.second.close();
            CHECK(engine.result_of(test::recv_entry(pair.first, buffer)) == 0);
            engine->forget(pair.first);
        }
    });
}

TEST_CASE("bytes behind an urgent one are received although the receive in front was short") {
    test::on_software_engines([](test::raw_engine& engine) {
        auto pair = test::tcp_sockets();
        std::array<std::byte, 16> buffer;
        engine.queue(test::recv_entry(pair.first, buffer), 1);
        REQUIRE(engine.submit() == 1);
        REQUIRE(::send(pair.second, "abc!", 4, MSG_OOB) == 4);
        REQUIRE(::send(pair.second, "behind", 6, 0) == 6);

        CHECK(engine.one().result == 3); // It stops in front of the urgent byte.
        CHECK(engine.result_of(test::recv_entry(pair.first, buffer)) == 6);
        CHECK(test::text_of(std::span(buffer).first(6)) == "behind");
    });
}

TEST_CASE("UDP: a refusal surfaces once, at the receive that waits or at the next send") {
    test::on_software_engines([](test::raw_engine& engine) {
        auto sender = connected_to_nobody();
        std::array<std::byte, 4> buffer;
        CHECK(engine.result_of(test::recv_entry(sender, buffer)) == 1);
        engine.queue(test::recv_entry(sender, buffer), 1);
        engine.queue(test::send_entry(sender, bytes_of("x")), 2);
        std::array<int, 3> results{};
        for (int count = 0; count < 2; ++count) {
            const auto told = engine.next();
            REQUIRE(told.has_value());
            results[told->user_data] = told->result;
        }
        CHECK(results[1] == -ECONNREFUSED);
        CHECK(results[2] == 1);
        engine.queue(test::recv_entry(sender, buffer), 3);
        CHECK(engine.is_silent());
    });
}

TEST_CASE("the error queue: a receive with MSG_ERRQUEUE waits for an error and gets it") {
    test::on_software_engines([](test::raw_engine& engine) {
        auto sender = connected_to_nobody();
        const int on = 1;
        REQUIRE(::setsockopt(sender, IPPROTO_IP, IP_RECVERR, &on, sizeof on) == 0);
        std::array<std::byte, 16> data;
        std::array<std::byte, 512> control;
        iovec piece = {data.data(), data.size()};
        msghdr message = {};
        message.msg_iov = &piece;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        submission entry = {};
        entry.opcode = uapi::op_recvmsg;
        entry.fd = sender;
        entry.address = reinterpret_cast<std::uintptr_t>(&message);
        entry.length = 1;
        entry.operation_flags = MSG_ERRQUEUE;
        engine.queue(entry, 1);
        const auto before = test::open_descriptors();
        REQUIRE(engine.submit() == 1);
        CHECK(!engine.next(10ms).has_value());
        CHECK(test::open_descriptors() == before); // It does not try by the clock.

        REQUIRE(::send(sender, "lost", 4, 0) == 4);

        CHECK(engine.one().result == 4);
        CHECK((message.msg_flags & MSG_ERRQUEUE) != 0);
        const cmsghdr* told = CMSG_FIRSTHDR(&message);
        REQUIRE(told != nullptr);
        sock_extended_err error;
        std::memcpy(&error, CMSG_DATA(told), sizeof error);
        CHECK(error.ee_errno == ECONNREFUSED);
    });
}

// Readiness says nothing about the queue of the receiver: the engine tries again by the clock.
TEST_CASE("a Unix datagram to a full queue waits until there is room, without turning in vain") {
    test::on_software_engines([](test::raw_engine& engine) {
        test::raw_fd receiver(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        sockaddr_un name = {};
        name.sun_family = AF_UNIX;
        REQUIRE(::bind(receiver, reinterpret_cast<sockaddr*>(&name), sizeof(sa_family_t)) == 0);
        socklen_t size = sizeof name;
        REQUIRE(::getsockname(receiver, reinterpret_cast<sockaddr*>(&name), &size) == 0);
        test::raw_fd sender(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        const auto* to = reinterpret_cast<const sockaddr*>(&name);
        int filled = 0;
        while (::sendto(sender, "x", 1, MSG_DONTWAIT, to, size) == 1) {
            ++filled;
        }
        submission entry = test::send_entry(sender, bytes_of("the last"));
        entry.offset = reinterpret_cast<std::uintptr_t>(&name);
        entry.file_index = size;
        engine.queue(entry, 1);
        for (int turn = 0; turn < 3; ++turn) {
            CHECK(!engine.next(10ms).has_value());
        }

        std::array<char, 16> buffer;
        for (int count = 0; count < filled; ++count) {
            REQUIRE(::recv(receiver, buffer.data(), buffer.size(), MSG_DONTWAIT) == 1);
        }
        CHECK(engine.one().result == 8);
        CHECK(::recv(receiver, buffer.data(), buffer.size(), MSG_DONTWAIT) == 8);
    });
}

TEST_CASE("what still waits on a descriptor that is closed ends with ECANCELED") {
    test::on_software_engines([](test::raw_engine& engine) {
        auto pair = test::socket_pair();
        std::array<std::byte, 4> buffer;
        engine.queue(test::recv_entry(pair.first, buffer), 1);
        REQUIRE(engine.submit() == 1);
        submission close = {};
        close.opcode = uapi::op_close;
        close.fd = ::dup(pair.first);
        CHECK(engine.result_of(close) == 0);
        CHECK(engine.is_silent());

        engine->forget(pair.first);
        pair.first.close();

        CHECK(engine.one().result == -ECANCELED);
    });
}

TEST_CASE("a listener is made O_NONBLOCK for its accepts, and blocking again when it is closed") {
    test::on_software_engines([](test::raw_engine& engine) {
        auto listening = gyre::listener::bind("127.0.0.1:0");
        const test::raw_fd elsewhere(::dup(listening.native_handle()));
        submission accept = {};
        accept.opcode = uapi::op_accept;
        accept.fd = listening.native_handle();
        engine.queue(accept, 1);
        REQUIRE(engine.submit() == 1);
        CHECK((::fcntl(elsewhere, F_GETFL) & O_NONBLOCK) != 0);
        engine.queue(test::cancel_entry(1), 2);
        CHECK(engine.one().result == -ECANCELED);

        engine->forget(listening.native_handle());

        CHECK((::fcntl(elsewhere, F_GETFL) & O_NONBLOCK) == 0);
    });
}

TEST_CASE("an engine that ends leaves a number alone that names something else by then") {
    for (const gyre::engine_kind kind : {gyre::engine_kind::epoll, gyre::engine_kind::blocking}) {
        test::raw_fd reused;
        {
            test::raw_engine engine(kind);
            auto listening = gyre::listener::bind("127.0.0.1:0");
            const int number = listening.native_handle();
            submission accept = {};
            accept.opcode = uapi::op_accept;
            accept.fd = number;
            engine.queue(accept, 1);
            REQUIRE(engine.submit() == 1);
            engine.queue(test::cancel_entry(1), 2);
            CHECK(engine.one().result == -ECANCELED);
            auto pair = test::socket_pair();
            {
                const auto closed = std::move(listening); // As while no scheduler runs.
            }
            REQUIRE(::fcntl(pair.first, F_SETFL, O_NONBLOCK) == 0);
            REQUIRE(::fcntl(pair.first, F_DUPFD_CLOEXEC, number) == number);
            reused = test::raw_fd(number);
        }
        CHECK((::fcntl(reused, F_GETFL) & O_NONBLOCK) != 0);
    }
}

TEST_CASE("an unknown opcode, a link and a registered file are refused with EINVAL") {
    test::on_software_engines([](test::raw_engine& engine) {
        submission unknown = {};
        unknown.opcode = 200;
        CHECK(engine.result_of(unknown) == -EINVAL);
        for (const unsigned flag : {1U, 2U, 4U, 8U, 32U, 64U}) {
            submission marked = test::nop_entry();
            marked.flags = static_cast<std::uint8_t>(flag);
            CHECK(engine.result_of(marked) == -EINVAL);
        }
        submission hinted = test::nop_entry();
        hinted.flags = uapi::sqe_async;
        CHECK(engine.result_of(hinted) == 0);
    });
}

TEST_CASE("a completion queue smaller than the submission queue is an error that says EINVAL") {
    for (const gyre::engine_kind kind : {gyre::engine_kind::epoll, gyre::engine_kind::blocking}) {
        try {
            const gyre::scheduler made(
                {.engine = kind, .submission_entries = 64, .completion_entries = 8}
            );
            FAIL_CHECK("it was made");
        } catch (const std::system_error& error) {
            CHECK(error.code() == gyre::errno_code(EINVAL));
        }
    }
}

TEST_CASE("the report of an engine in software lists what it can do, and no feature") {
    for (const gyre::engine_kind kind : {gyre::engine_kind::epoll, gyre::engine_kind::blocking}) {
        const gyre::scheduler made({.engine = kind, .submission_entries = 5});
        const gyre::engine_report& report = made.report();

        CHECK(report.engine == kind);
        CHECK(report.features.empty());
        CHECK(report.submission_entries == 8);
        CHECK(report.opcodes[uapi::op_recv]);
        CHECK(report.opcodes[uapi::op_async_cancel]);
        CHECK(!report.opcodes[11]); // TIMEOUT: timers are the scheduler's.
    }
}

TEST_SUITE_END();
