#include <gyre/net/stream_message.hpp> // IWYU pragma: keep

#include "support/raw_socket.hpp"
#include "support/test.hpp"

#include <gyre/net/ancillary.hpp>
#include <gyre/net/credentials.hpp>
#include <gyre/net/owned_descriptor.hpp>
#include <gyre/op/descriptor.hpp>
#include <gyre/scheduler/run_loop.hpp>
#include <gyre/scheduler/waiter.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;

// A descriptor to pass, and whether any copy of it is open anywhere: the write end of a pipe. The
// read end sees the end once the last copy is gone, also of those on their way.
class traced {
public:
    traced() {
        std::array<int, 2> ends{};
        REQUIRE(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0);
        read_ = test::raw_socket(ends[0]);
        write_ = test::raw_socket(ends[1]);
    }
    int number() const { return write_.get(); }
    void close() { write_.close(); }
    bool is_gone() const {
        char byte = 0;
        return ::read(read_.get(), &byte, 1) == 0;
    }
    // Whether `fd` is one of its copies: what is written there arrives here.
    bool is_copied_by(int fd) const {
        char byte = 0;
        return ::write(fd, "x", 1) == 1 && ::read(read_.get(), &byte, 1) == 1;
    }

private:
    test::raw_socket read_;
    test::raw_socket write_;
};

// Sends by the plain system call.
void pass_now(int over, std::string_view text, std::initializer_list<int> numbers) {
    const std::vector<int> all(numbers);
    gyre::control_message<> control;
    REQUIRE(control.add_descriptors(all));
    iovec piece = {const_cast<char*>(text.data()), text.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = const_cast<std::byte*>(control.data());
    message.msg_controllen = control.size();
    REQUIRE(::sendmsg(over, &message, 0) == static_cast<ssize_t>(text.size()));
}

bool is_close_on_exec(int fd) {
    return (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

std::uint64_t submissions() {
    return gyre::scheduler::current().counters().submissions;
}

// Between completion and resumption.
gyre::task<> until_completed(std::uint64_t before) {
    while (submissions() == before || gyre::scheduler::current().operations_in_flight() != 0) {
        co_await gyre::yield();
    }
}

gyre::task<> until_in_flight(std::size_t count) {
    while (gyre::scheduler::current().operations_in_flight() != count) {
        co_await gyre::yield();
    }
    co_await gyre::yield();
    co_await gyre::yield();
}

void fill(int fd) {
    const std::array<std::byte, 4096> block{};
    while (::send(fd, block.data(), block.size(), MSG_DONTWAIT) > 0) {
    }
}

constexpr gyre::scheduler_options tiny_submission_queue{.submission_entries = 2};
constexpr gyre::scheduler_options tiny_completion_queue{
    .submission_entries = 2, .completion_entries = 2
};

// On each of many connections a descriptor goes over, and is the right one.
gyre::task<> pass_on_many() {
    constexpr std::size_t many = 48;
    std::vector<gyre::stream_pair> pairs;
    std::vector<traced> passed(many);
    for (std::size_t index = 0; index < many; ++index) {
        pairs.push_back(gyre::stream::pair());
    }
    std::size_t right = 0;
    auto body = [&](gyre::scope& scope) -> gyre::task<> {
        for (std::size_t index = 0; index < many; ++index) {
            scope.spawn([&, index]() -> gyre::task<> {
                std::array<std::byte, 4> buffer{};
                gyre::control_buffer<> control;
                const auto received = co_await pairs[index].second.recvmsg(buffer, control);
                const auto taken = control.take_descriptor();
                right +=
                    received.value_or(0) == 1U && passed[index].is_copied_by(taken.native_handle())
                        ? 1U
                        : 0U;
            });
            scope.spawn([&, index]() -> gyre::task<> {
                gyre::control_message<> control;
                const int number = passed[index].number();
                CHECK(control.add_descriptors(std::span(&number, 1)));
                const auto sent = co_await pairs[index].first.sendmsg(test::bytes_of("x"), control);
                CHECK(sent.value_or(0) == 1U);
            });
        }
        const auto joined = co_await scope.join();
        CHECK(joined);
    };
    co_await gyre::with_scope(body);
    CHECK(right == many);
    for (traced& each : passed) {
        each.close();
        CHECK(each.is_gone());
    }
}

// Lowers the soft limit of descriptors to `more` above what is open now, as long as it lives.
class few_descriptors_left {
public:
    explicit few_descriptors_left(int more) {
        CHECK(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
        rlimit lowered = before_;
        const int probe = ::dup(0);
        CHECK(probe >= 0);
        ::close(probe);
        lowered.rlim_cur = static_cast<rlim_t>(probe) + static_cast<rlim_t>(more);
        CHECK(::setrlimit(RLIMIT_NOFILE, &lowered) == 0);
    }
    ~few_descriptors_left() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    few_descriptors_left(const few_descriptors_left&) = delete;
    few_descriptors_left& operator=(const few_descriptors_left&) = delete;

private:
    rlimit before_{};
};

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

TEST_SUITE_BEGIN("net/pass_descriptor");

TEST_CASE("recvmsg, full: descriptors come with their bytes, in order and close-on-exec") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        std::array<traced, 3> passed;
        const std::array<int, 3> numbers = {
            passed[0].number(), passed[1].number(), passed[2].number()
        };
        for (const bool waits : {false, true}) {
            std::array<std::byte, 16> buffer{};
            gyre::control_buffer<> control;
            gyre::result<std::size_t> received = gyre::errno_code(ENODATA);
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                if (waits) {
                    scope.spawn([&]() -> gyre::task<> {
                        received = co_await pair.second.recvmsg(buffer, control);
                    });
                    co_await until_in_flight(1);
                }
                gyre::control_message<> message;
                CHECK(message.add_descriptors(numbers));
                const auto sent = co_await pair.first.sendmsg(test::bytes_of("three"), message);
                CHECK(sent.value_or(0) == 5U);
                if (!waits) {
                    received = co_await pair.second.recvmsg(buffer, control);
                }
                const auto joined = co_await scope.join();
                CHECK(joined);
            };
            co_await gyre::with_scope(body);
            CHECK(received.value_or(0) == 5U);
            CHECK(test::text_of(std::span(buffer).first(5)) == "three");
            CHECK(!control.truncated());
            CHECK(control.descriptor_count() == 3U);
            for (const traced& each : passed) {
                const gyre::owned_descriptor taken = control.take_descriptor();
                CHECK(each.is_copied_by(taken.native_handle()));
                CHECK(is_close_on_exec(taken.native_handle()));
            }
            CHECK(!control.take_descriptor().is_open());
        }
        for (traced& each : passed) {
            each.close();
            CHECK(each.is_gone());
        }
    });
}

TEST_CASE("a receive ends behind the bytes that descriptors came with") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        traced one;
        traced two;
        CHECK(::send(pair.first.native_handle(), "plain ", 6, 0) == 6);
        pass_now(pair.first.native_handle(), "one ", {one.number()});
        pass_now(pair.first.native_handle(), "two ", {two.number()});
        CHECK(::send(pair.first.native_handle(), "rest", 4, 0) == 4);
        std::array<std::byte, 64> buffer{};
        gyre::control_buffer<> control;
        const auto next = [&](std::string_view text, const traced* passed) -> gyre::task<> {
            const auto received = co_await pair.second.recvmsg(buffer, control);
            CHECK(test::text_of(std::span(buffer).first(received.value_or(0))) == text);
            CHECK(control.descriptor_count() == (passed != nullptr ? 1U : 0U));
            if (passed != nullptr) {
                CHECK(passed->is_copied_by(control.take_descriptor().native_handle()));
            }
        };
        co_await next("plain one ", &one);
        co_await next("two ", &two);
        co_await next("rest", nullptr);
    });
}

TEST_CASE("recvmsg, short: a small buffer takes the descriptors with the first bytes") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        traced passed;
        pass_now(pair.first.native_handle(), "abcdef", {passed.number()});
        std::array<std::byte, 4> buffer{};
        gyre::control_buffer<> control;
        const auto first = co_await pair.second.recvmsg(buffer, control);
        CHECK(first.value_or(0) == 4U);
        CHECK(passed.is_copied_by(control.take_descriptor().native_handle()));
        const auto second = co_await pair.second.recvmsg(buffer, control);
        CHECK(second.value_or(0) == 2U);
        CHECK(control.descriptor_count() == 0U);
    });
}

TEST_CASE("descriptors that find no room are closed, none leaks, and truncated says so") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        std::array<traced, 3> passed;
        pass_now(
            pair.first.native_handle(),
            "x",
            {passed[0].number(), passed[1].number(), passed[2].number()}
        );
        for (traced& each : passed) {
            each.close();
        }
        const auto before = test::open_descriptors();
        std::array<std::byte, 4> buffer{};
        {
            gyre::control_buffer<gyre::descriptor_room(1)> control;
            const auto received = co_await pair.second.recvmsg(buffer, control);
            CHECK(received.value_or(0) == 1U);
            CHECK(control.truncated());
            CHECK(control.descriptor_count() == 1U);
            CHECK(test::open_descriptors() == before + 1);
            CHECK(!passed[0].is_gone());
            CHECK(passed[1].is_gone());
            CHECK(passed[2].is_gone());
        }
        CHECK(passed[0].is_gone());
        CHECK(test::open_descriptors() == before);
    });
}

TEST_CASE("when no descriptor is left the bytes come, and truncated tells what was lost") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        std::array<traced, 2> passed;
        pass_now(pair.first.native_handle(), "bytes", {passed[0].number(), passed[1].number()});
        std::array<std::byte, 8> buffer{};
        gyre::control_buffer<> control;
        // Whatever the test itself opens for a moment is open by now.
        CHECK(test::open_descriptors() > 0U);
        gyre::result<std::size_t> received = gyre::errno_code(ENODATA);
        {
            const few_descriptors_left now(1);
            received = co_await pair.second.recvmsg(buffer, control);
        }
        CHECK(received.value_or(0) == 5U);
        CHECK(control.truncated());
        CHECK(control.descriptor_count() <= 1U);
        control.clear();
        for (traced& each : passed) {
            each.close();
            CHECK(each.is_gone());
        }
    });
}

TEST_CASE("descriptors that nobody takes are closed by the next receive and with the buffer") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        std::array<traced, 2> passed;
        std::array<std::byte, 4> buffer{};
        {
            gyre::control_buffer<> control;
            for (traced& each : passed) {
                pass_now(pair.first.native_handle(), "x", {each.number()});
                each.close();
                const auto received = co_await pair.second.recvmsg(buffer, control);
                CHECK(received.value_or(0) == 1U);
                CHECK(!each.is_gone());
            }
            CHECK(passed[0].is_gone());
        }
        CHECK(passed[1].is_gone());
    });
}

TEST_CASE("recv closes descriptors that come with its bytes, unseen") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        traced passed;
        pass_now(pair.first.native_handle(), "x", {passed.number()});
        passed.close();
        CHECK(!passed.is_gone());
        const auto before = test::open_descriptors();
        std::array<std::byte, 4> buffer{};
        const auto received = co_await pair.second.recv(buffer);
        CHECK(received.value_or(0) == 1U);
        CHECK(test::open_descriptors() == before);
        CHECK(passed.is_gone());
    });
}

TEST_CASE("recvmsg, peer error: a peer that dies with bytes unread is ECONNRESET, then the end") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        CHECK(::send(pair.second.native_handle(), "unread", 6, 0) == 6);
        const auto closed = co_await pair.first.close();
        CHECK(closed);
        std::array<std::byte, 4> buffer{};
        gyre::control_buffer<> control;
        const auto reset = co_await pair.second.recvmsg(buffer, control);
        CHECK(reset.error() == gyre::errno_code(ECONNRESET));
        const auto end = co_await pair.second.recvmsg(buffer, control);
        CHECK(end.value_or(9) == 0U);
        CHECK(control.descriptor_count() == 0U);
    });
}

TEST_CASE("recvmsg, stop before submission: it is refused, and what waits stays") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        traced passed;
        pass_now(pair.first.native_handle(), "x", {passed.number()});
        std::array<std::byte, 4> buffer{};
        gyre::control_buffer<> control;
        std::error_code refused;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            const auto received = co_await pair.second.recvmsg(buffer, control);
            refused = received.error();
        };
        co_await gyre::with_scope(body);
        CHECK(refused == gyre::errno_code(ECANCELED));
        CHECK(control.descriptor_count() == 0U);
        const auto received = co_await pair.second.recvmsg(buffer, control);
        CHECK(received.value_or(0) == 1U);
        CHECK(passed.is_copied_by(control.take_descriptor().native_handle()));
    });
}

TEST_CASE("recvmsg, stop in flight: it ends, and what comes later is for the next one") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        traced passed;
        std::error_code ended;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                std::array<std::byte, 4> buffer{};
                gyre::control_buffer<> control;
                const auto received = co_await pair.second.recvmsg(buffer, control);
                ended = received.error();
            });
            co_await until_in_flight(1);
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        CHECK(ended == gyre::errno_code(ECANCELED));
        pass_now(pair.first.native_handle(), "x", {passed.number()});
        std::array<std::byte, 4> buffer{};
        gyre::control_buffer<> control;
        const auto received = co_await pair.second.recvmsg(buffer, control);
        CHECK(received.value_or(0) == 1U);
        CHECK(passed.is_copied_by(control.take_descriptor().native_handle()));
    });
}

TEST_CASE(
    "recvmsg, stop after completion: the descriptors are the result and the stop stays visible"
) {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        traced passed;
        pass_now(pair.first.native_handle(), "x", {passed.number()});
        bool saw_stop = false;
        std::optional<gyre::result<std::size_t>> outcome;
        std::array<std::byte, 4> buffer{};
        gyre::control_buffer<> control;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            const auto before = submissions();
            scope.spawn([&]() -> gyre::task<> {
                const auto received = co_await pair.second.recvmsg(buffer, control);
                outcome.emplace(received);
                saw_stop = gyre::this_task::canceled();
            });
            co_await until_completed(before);
            CHECK(!outcome.has_value());
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        REQUIRE(outcome.has_value());
        CHECK(outcome->value_or(0) == 1U);
        CHECK(saw_stop);
        CHECK(passed.is_copied_by(control.take_descriptor().native_handle()));
    });
}

TEST_CASE("recvmsg, submission queue full: more of them than entries all complete") {
    test::on_every_engine(tiny_submission_queue, []() -> gyre::task<> {
        co_await pass_on_many();
        CHECK(gyre::scheduler::current().counters().submission_queue_full > 0);
    });
}

TEST_CASE("recvmsg, completion queue overflow: no completion and no descriptor is lost") {
    test::on_every_engine(tiny_completion_queue, []() -> gyre::task<> {
        co_await pass_on_many();
        CHECK(gyre::scheduler::current().counters().completion_queue_overflow > 0);
    });
}

TEST_CASE("recvmsg, destroyed while idle: nothing is taken, and the buffer keeps what it had") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        traced first;
        traced second;
        pass_now(pair.first.native_handle(), "x", {first.number()});
        std::array<std::byte, 4> buffer{};
        gyre::control_buffer<> control;
        const auto received = co_await pair.second.recvmsg(buffer, control);
        CHECK(received.value_or(0) == 1U);
        pass_now(pair.first.native_handle(), "y", {second.number()});
        {
            const auto unused = pair.second.recvmsg(buffer, control);
            static_cast<void>(unused);
        }
        co_await gyre::yield();
        CHECK(first.is_copied_by(control.take_descriptor().native_handle()));
        CHECK(pair.second.bytes_available().value_or(0) == 1U);
    });
}

TEST_CASE("a recvmsg destroyed in flight, or before its result is taken, closes what came") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        const auto before = test::open_descriptors();
        std::array<std::byte, 4> buffer{};
        gyre::control_buffer<> control;
        {
            const started forgotten(pair.second.recvmsg(buffer, control));
            co_await gyre::yield();
            co_await gyre::yield();
        }
        CHECK(gyre::scheduler::current().operations_in_flight() == 0U);
        traced passed;
        pass_now(pair.first.native_handle(), "x", {passed.number()});
        passed.close();
        {
            const started forgotten(pair.second.recvmsg(buffer, control));
            while (forgotten.told.told == 0) {
                co_await gyre::yield();
            }
            CHECK(!passed.is_gone());
        }
        CHECK(gyre::scheduler::current().counters().reclaimed == 1U);
        CHECK(passed.is_gone());
        CHECK(control.descriptor_count() == 0U);
        CHECK(test::open_descriptors() == before + 1); // The end of the pipe that is kept.
    });
}

TEST_CASE("a recvmsg destroyed just as a descriptor comes closes it, or leaves it: none leaks") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        for (int round = 0; round < 100; ++round) {
            traced passed;
            std::array<std::byte, 4> buffer{};
            gyre::control_buffer<> control;
            {
                const started forgotten(pair.second.recvmsg(buffer, control));
                co_await gyre::yield();
                co_await gyre::yield();
                pass_now(pair.first.native_handle(), "x", {passed.number()});
                passed.close();
            }
            CHECK(control.descriptor_count() == 0U);
            if (pair.second.bytes_available().value_or(0) != 0U) {
                CHECK(!passed.is_gone());
                const auto received = co_await pair.second.recvmsg(buffer, control);
                CHECK(received.value_or(0) == 1U);
                CHECK(control.take_descriptor().is_open());
            }
            CHECK(passed.is_gone());
        }
        CHECK(gyre::scheduler::current().operations_in_flight() == 0U);
    });
}

TEST_CASE("a recvmsg that is canceled just as a descriptor comes has it, or leaves it: none leaks"
) {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        int taken = 0;
        int left = 0;
        for (int round = 0; round < 200; ++round) {
            traced passed;
            std::array<std::byte, 4> buffer{};
            gyre::control_buffer<> control;
            gyre::result<std::size_t> outcome = gyre::errno_code(ENODATA);
            auto body = [&](gyre::scope& scope) -> gyre::task<> {
                scope.spawn([&]() -> gyre::task<> {
                    outcome = co_await pair.second.recvmsg(buffer, control);
                });
                co_await until_in_flight(1);
                pass_now(pair.first.native_handle(), "x", {passed.number()});
                if (round % 2 == 0) {
                    co_await gyre::yield();
                }
                scope.cancel();
            };
            co_await gyre::with_scope(body);
            if (outcome) {
                ++taken;
            } else {
                CHECK(outcome.error() == gyre::errno_code(ECANCELED));
                CHECK(control.descriptor_count() == 0U);
                ++left;
                outcome = co_await pair.second.recvmsg(buffer, control);
            }
            CHECK(outcome.value_or(0) == 1U);
            CHECK(passed.is_copied_by(control.take_descriptor().native_handle()));
            passed.close();
            CHECK(passed.is_gone());
        }
        CHECK(taken + left == 200);
    });
}

TEST_CASE("sendmsg, full: the bytes are taken, and the sender may close its descriptors") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        traced passed;
        {
            gyre::control_message<> message;
            const int number = passed.number();
            CHECK(message.add_descriptors(std::span(&number, 1)));
            const auto sent = co_await pair.first.sendmsg(test::bytes_of("mine"), message);
            CHECK(sent.value_or(0) == 4U);
        }
        passed.close();
        CHECK(!passed.is_gone()); // It is on its way.
        // Unread ones go with the socket.
        const auto closed = co_await pair.second.close();
        CHECK(closed);
        CHECK(passed.is_gone());
    });
}

TEST_CASE("sendmsg, short: what does not fit is left, and the descriptors went with the first bytes"
) {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        traced passed;
        const std::vector<std::byte> data(8 << 20);
        gyre::control_message<> message;
        const int number = passed.number();
        CHECK(message.add_descriptors(std::span(&number, 1)));
        const auto sent = co_await pair.first.sendmsg(data, message);
        REQUIRE(sent);
        CHECK(*sent > 0U);
        CHECK(*sent < data.size());
        std::vector<std::byte> buffer(data.size());
        gyre::control_buffer<> control;
        std::size_t received = 0;
        std::size_t count = 0;
        while (received < *sent) {
            const auto got =
                co_await pair.second.recvmsg(std::span(buffer).subspan(received), control);
            REQUIRE(got);
            if (received == 0) {
                CHECK(passed.is_copied_by(control.take_descriptor().native_handle()));
                ++count;
            }
            count += control.descriptor_count();
            received += *got;
        }
        CHECK(received == *sent);
        CHECK(count == 1U);
    });
}

TEST_CASE("sendmsg, peer error: EPIPE, and nothing stays open") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        traced passed;
        const auto closed = co_await pair.second.close();
        CHECK(closed);
        gyre::control_message<> message;
        const int number = passed.number();
        CHECK(message.add_descriptors(std::span(&number, 1)));
        const auto sent = co_await pair.first.sendmsg(test::bytes_of("x"), message);
        CHECK(sent.error() == gyre::errno_code(EPIPE));
        passed.close();
        CHECK(passed.is_gone());
    });
}

TEST_CASE("what cannot be passed is an error, and then no byte goes") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        const auto try_to_send = [](gyre::stream& over,
                                    std::span<const int> numbers) -> gyre::task<std::error_code> {
            gyre::control_message<2048> message;
            CHECK(message.add_descriptors(numbers));
            const auto sent = co_await over.sendmsg(test::bytes_of("x"), message);
            co_return sent.error();
        };
        const std::array<int, 1> none = {9999};
        const auto bad = co_await try_to_send(pair.first, none);
        CHECK(bad == gyre::errno_code(EBADF));
        const std::vector<int> too_many(254, 0);
        const auto invalid = co_await try_to_send(pair.first, too_many);
        CHECK(invalid == gyre::errno_code(EINVAL));
        CHECK(pair.second.bytes_available().value_or(9) == 0U);

        const std::vector<int> most(253, pair.first.native_handle());
        const auto fine = co_await try_to_send(pair.first, most);
        CHECK(!fine);
        std::array<std::byte, 4> buffer{};
        gyre::control_buffer<gyre::descriptor_room(253)> control;
        const auto received = co_await pair.second.recvmsg(buffer, control);
        CHECK(received.value_or(0) == 1U);
        CHECK(control.descriptor_count() == 253U);
        CHECK(!control.truncated());
    });
}

TEST_CASE("over TCP the kernel sends the bytes and drops descriptors without a word") {
    test::on_every_engine([]() -> gyre::task<> {
        auto tcp = co_await test::loopback_pair();
        traced passed;
        const int number = passed.number();
        gyre::control_message<> message;
        CHECK(message.add_descriptors(std::span(&number, 1)));
        const auto sent = co_await tcp.client.sendmsg(test::bytes_of("x"), message);
        CHECK(sent.value_or(0) == 1U);
        std::array<std::byte, 4> buffer{};
        gyre::control_buffer<> control;
        const auto received = co_await tcp.server.recvmsg(buffer, control);
        CHECK(received.value_or(0) == 1U);
        CHECK(control.descriptor_count() == 0U);
        passed.close();
        CHECK(passed.is_gone());
    });
}

TEST_CASE("sendmsg, stop before submission: it is refused and passes nothing") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        traced passed;
        std::error_code refused;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.cancel();
            gyre::control_message<> message;
            const int number = passed.number();
            CHECK(message.add_descriptors(std::span(&number, 1)));
            const auto sent = co_await pair.first.sendmsg(test::bytes_of("x"), message);
            refused = sent.error();
        };
        co_await gyre::with_scope(body);
        CHECK(refused == gyre::errno_code(ECANCELED));
        CHECK(pair.second.bytes_available().value_or(9) == 0U);
        passed.close();
        CHECK(passed.is_gone());
    });
}

TEST_CASE("sendmsg, stop in flight: one that waits for room passes nothing") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        fill(pair.first.native_handle());
        const auto before = pair.second.bytes_available().value();
        traced passed;
        std::error_code ended;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                gyre::control_message<> message;
                const int number = passed.number();
                CHECK(message.add_descriptors(std::span(&number, 1)));
                const auto sent = co_await pair.first.sendmsg(test::bytes_of("x"), message);
                ended = sent.error();
            });
            co_await until_in_flight(1);
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        CHECK(ended == gyre::errno_code(ECANCELED));
        CHECK(pair.second.bytes_available().value_or(0) == before);
        passed.close();
        CHECK(passed.is_gone());
    });
}

TEST_CASE("a sendmsg that has waited for room passes its descriptors once") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        fill(pair.first.native_handle());
        traced passed;
        std::size_t descriptors = 0;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                gyre::control_message<> message;
                const int number = passed.number();
                CHECK(message.add_descriptors(std::span(&number, 1)));
                const auto sent = co_await pair.first.sendmsg(test::bytes_of("x"), message);
                CHECK(sent.value_or(0) == 1U);
                CHECK(pair.first.shutdown(gyre::shutdown_side::send));
            });
            co_await until_in_flight(1);
            std::vector<std::byte> buffer(65536);
            gyre::control_buffer<> control;
            for (;;) {
                const auto received = co_await pair.second.recvmsg(buffer, control);
                REQUIRE(received);
                if (*received == 0) {
                    break;
                }
                descriptors += control.descriptor_count();
            }
            const auto joined = co_await scope.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK(descriptors == 1U);
        passed.close();
        CHECK(passed.is_gone());
    });
}

TEST_CASE("sendmsg, stop after completion: the count is the result and the stop stays visible") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        traced passed;
        std::optional<gyre::result<std::size_t>> outcome;
        bool saw_stop = false;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            const auto before = submissions();
            scope.spawn([&]() -> gyre::task<> {
                gyre::control_message<> message;
                const int number = passed.number();
                CHECK(message.add_descriptors(std::span(&number, 1)));
                const auto sent = co_await pair.first.sendmsg(test::bytes_of("x"), message);
                outcome.emplace(sent);
                saw_stop = gyre::this_task::canceled();
            });
            co_await until_completed(before);
            CHECK(!outcome.has_value());
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        REQUIRE(outcome.has_value());
        CHECK(outcome->value_or(0) == 1U);
        CHECK(saw_stop);
        CHECK(pair.second.bytes_available().value_or(0) == 1U);
    });
}

TEST_CASE("sendmsg, submission queue full: more of them than entries all complete") {
    test::on_every_engine(tiny_submission_queue, pass_on_many);
}

TEST_CASE("sendmsg, completion queue overflow: no completion is lost") {
    test::on_every_engine(tiny_completion_queue, pass_on_many);
}

TEST_CASE("sendmsg, destroyed while idle: nothing is sent") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        const gyre::control_message<> message;
        {
            const auto unused = pair.first.sendmsg(test::bytes_of("x"), message);
            static_cast<void>(unused);
        }
        co_await gyre::yield();
        CHECK(pair.second.bytes_available().value_or(9) == 0U);
    });
}

TEST_CASE("a passed socket becomes what it is: a listener, a stream") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        auto at = gyre::endpoint();
        {
            auto listener = gyre::listener::bind("127.0.0.1:0");
            at = listener.local_endpoint().value();
            auto inner = gyre::stream::pair();
            pass_now(
                pair.first.native_handle(),
                "x",
                {listener.native_handle(), inner.first.native_handle()}
            );
            std::array<std::byte, 4> buffer{};
            gyre::control_buffer<> control;
            const auto received = co_await pair.second.recvmsg(buffer, control);
            CHECK(received.value_or(0) == 1U);
            auto passed = gyre::listener::try_adopt(control.take_descriptor());
            auto other = gyre::stream::try_adopt(control.take_descriptor());
            REQUIRE(passed);
            REQUIRE(other);
            const auto closed = co_await listener.close();
            CHECK(closed);
            auto client = co_await gyre::stream::connect(at);
            REQUIRE(client);
            const auto accepted = co_await passed->accept();
            CHECK(accepted);
            const auto sent = co_await gyre::send_all(*other, test::bytes_of("through"));
            CHECK(sent);
            std::array<std::byte, 7> text{};
            const auto got = co_await gyre::recv_exactly(inner.second, text);
            CHECK(got);
            CHECK(test::text_of(text) == "through");
        }
    });
}

TEST_CASE("with pass_credentials each receive tells who has sent") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = gyre::stream::pair();
        REQUIRE(pair.second.set_option(gyre::pass_credentials(true)));
        traced passed;
        pass_now(pair.first.native_handle(), "x", {passed.number()});
        std::array<std::byte, 4> buffer{};
        gyre::control_buffer<> control;
        const auto received = co_await pair.second.recvmsg(buffer, control);
        CHECK(received.value_or(0) == 1U);
        const auto who = control.credentials();
        REQUIRE(who);
        CHECK(who->process_id == ::getpid());
        CHECK(who->user_id == ::getuid());
        CHECK(who->group_id == ::getgid());
        CHECK(passed.is_copied_by(control.take_descriptor().native_handle()));

        gyre::control_message<> own;
        CHECK(own.add_credentials({::getpid(), ::getuid(), ::getgid()}));
        const auto sent = co_await pair.first.sendmsg(test::bytes_of("y"), own);
        CHECK(sent);
        const auto again = co_await pair.second.recvmsg(buffer, control);
        CHECK(again);
        CHECK(control.credentials()->process_id == ::getpid());
        gyre::control_message<> invented;
        CHECK(invented.add_credentials({0x7ffffff0, 0, 0}));
        const auto refused = co_await pair.first.sendmsg(test::bytes_of("z"), invented);
        CHECK(!refused); // ESRCH for who may take any identity, else EPERM.
    });
}

TEST_CASE("the peer's credentials are those of who connected, and of who listened") {
    test::on_every_engine([]() -> gyre::task<> {
        auto listener = gyre::listener::bind("unix:");
        const auto at = listener.local_endpoint().value();
        // A process that connects, says so, and stays until it is told to go.
        std::array<int, 2> leave{};
        REQUIRE(::pipe2(leave.data(), O_CLOEXEC) == 0);
        const pid_t child = ::fork();
        if (child == 0) {
            ::close(leave[1]);
            const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
            const int answer = ::connect(
                fd, static_cast<const sockaddr*>(at.data()), static_cast<socklen_t>(at.size())
            );
            char byte = 0;
            static_cast<void>(::read(leave[0], &byte, 1));
            ::_exit(answer == 0 ? 0 : 1);
        }
        auto accepted = co_await listener.accept();
        REQUIRE(accepted);
        const auto who = gyre::peer_credentials(*accepted);
        REQUIRE(who);
        CHECK(who->process_id == child);
        CHECK(who->user_id == ::getuid());
        CHECK(who->group_id == ::getgid());

        auto process = gyre::peer_process(*accepted);
        if (!process) {
            CHECK(process.error() == gyre::errno_code(ENOPROTOOPT));
            test::skip("SO_PEERPIDFD needs Linux 6.5");
        } else {
            CHECK(is_close_on_exec(process->native_handle()));
            pollfd look = {process->native_handle(), POLLIN, 0};
            CHECK(::poll(&look, 1, 0) == 0);
        }
        ::close(leave[1]);
        ::close(leave[0]);
        if (process) {
            const auto ended = co_await gyre::op::poll(process->native_handle(), POLLIN);
            CHECK(ended);
        }
        int status = 0;
        CHECK(::waitpid(child, &status, 0) == child);
        CHECK(status == 0);
        // It was noted down, and stays.
        CHECK(gyre::peer_credentials(*accepted).value().process_id == child);

        auto client = co_await gyre::stream::connect(at);
        REQUIRE(client);
        CHECK(gyre::peer_credentials(*client).value().process_id == ::getpid());
    });
}

TEST_CASE("the peer's groups are told whole or not at all") {
    auto pair = gyre::stream::pair();
    const int own = ::getgroups(0, nullptr);
    REQUIRE(own >= 0);
    std::vector<gid_t> mine(static_cast<std::size_t>(own) + 1);
    REQUIRE(::getgroups(own + 1, mine.data()) == own);
    std::vector<std::uint32_t> groups(static_cast<std::size_t>(own) + 8);
    const auto count = gyre::peer_groups(pair.first, groups);
    REQUIRE(count);
    CHECK(*count == static_cast<std::size_t>(own));
    CHECK(std::equal(mine.begin(), mine.begin() + own, groups.begin()));
    if (own > 0) {
        CHECK(gyre::peer_groups(pair.first, {}).error() == gyre::errno_code(ERANGE));
    }
}

TEST_CASE("without a peer, or without Unix, there are no credentials: ENOTCONN, never user 0") {
    const auto nobody = gyre::errno_code(ENOTCONN);
    const auto tcp = test::raw_pair::make_tcp();
    const auto over_tcp = gyre::stream::adopt(::dup(tcp.first.get()));
    const auto unconnected = gyre::stream::adopt(::socket(AF_UNIX, SOCK_STREAM, 0));
    std::array<std::uint32_t, 4> groups{};
    for (const gyre::stream* each : {&over_tcp, &unconnected}) {
        CHECK(gyre::peer_credentials(*each).error() == nobody);
        CHECK(gyre::peer_process(*each).error() == nobody);
        CHECK(gyre::peer_groups(*each, groups).error() == nobody);
    }
    auto closed = gyre::stream::pair();
    ::close(closed.first.release());
    CHECK(gyre::peer_credentials(closed.first).error() == gyre::errno_code(EBADF));
}

TEST_SUITE_END();
