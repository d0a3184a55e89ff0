#include <gyre/io/signals.hpp>

#include "support/test.hpp"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>

#include <signal.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;

bool is_blocked(int number) {
    sigset_t now;
    REQUIRE(::pthread_sigmask(SIG_SETMASK, nullptr, &now) == 0);
    return ::sigismember(&now, number) == 1;
}

} // namespace

// SIGUSR1 and SIGUSR2 end a process that neither blocks nor handles them, so every signal that gets
// past its `signals` fails the case.
TEST_SUITE_BEGIN("io/signals");

TEST_CASE("next yields the number of a signal that came before or while it waits") {
    test::on_every_engine([]() -> gyre::task<> {
        gyre::signals watched{SIGUSR1, SIGUSR2};
        REQUIRE(std::raise(SIGUSR2) == 0);
        const auto before = co_await watched.next();
        CHECK(before.value_or(0) == SIGUSR2);

        std::optional<int> arrived;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto number = co_await watched.next();
                arrived = number.value_or(0);
            });
            const auto rested = co_await gyre::sleep_for(2ms);
            CHECK(rested);
            CHECK(!arrived.has_value());
            REQUIRE(std::raise(SIGUSR1) == 0);
        };
        co_await gyre::with_scope(body);
        CHECK(arrived == SIGUSR1);
    });
}

TEST_CASE("next yields every one of several signals") {
    test::on_every_engine([]() -> gyre::task<> {
        gyre::signals watched{SIGUSR1, SIGUSR2};
        for (int round = 0; round < 50; ++round) {
            REQUIRE(std::raise(SIGUSR1) == 0);
            REQUIRE(std::raise(SIGUSR2) == 0);
            const auto first = co_await watched.next();
            const auto second = co_await watched.next();
            REQUIRE(first);
            REQUIRE(second);
            CHECK(*first != *second);
            CHECK(*first + *second == SIGUSR1 + SIGUSR2);
        }
    });
}

TEST_CASE("a signal to the process reaches it also with threads that were started afterwards") {
    test::on_every_engine([]() -> gyre::task<> {
        gyre::signals watched{SIGUSR1};
        const auto home = gyre::scheduler::current().handle();
        std::thread other([&] { // It has the mask of the thread that started it.
            const auto posted = home.post([] { ::kill(::getpid(), SIGUSR1); });
            CHECK(posted);
            ::kill(::getpid(), SIGUSR1);
        });
        const auto number = co_await watched.next();
        other.join();
        CHECK(number.value_or(0) == SIGUSR1);
    });
}

TEST_CASE("next can be canceled and limited, and loses no signal by it") {
    test::on_every_engine([]() -> gyre::task<> {
        gyre::signals watched{SIGUSR1};
        const auto none = co_await gyre::with_timeout(watched.next(), 2ms);
        CHECK(none.error() == gyre::errc::timed_out);

        std::error_code seen;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto number = co_await watched.next();
                seen = number.error();
            });
            const auto rested = co_await gyre::sleep_for(1ms);
            CHECK(rested);
            scope.cancel();
        };
        co_await gyre::with_scope(body);
        CHECK(seen == gyre::errno_code(ECANCELED));

        REQUIRE(std::raise(SIGUSR1) == 0);
        const auto number = co_await watched.next();
        CHECK(number.value_or(0) == SIGUSR1);
    });
}

TEST_CASE("a stop ends a wait for signals that is idle") {
    test::on_every_engine([]() -> gyre::task<> {
        gyre::signals watched{SIGUSR1};
        std::error_code seen;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                const auto number = co_await gyre::idle(watched.next());
                seen = number.error();
            });
            const auto rested = co_await gyre::sleep_for(1ms);
            CHECK(rested);
            scope.request_stop();
        };
        co_await gyre::with_scope(body);
        CHECK(seen == gyre::errc::stopped);
    });
}

TEST_CASE("signals that nobody took are dropped at the end, and the mask is as it was") {
    test::on_every_engine([]() -> gyre::task<> {
        REQUIRE(!is_blocked(SIGUSR1));
        const auto before = test::open_descriptors();
        {
            gyre::signals watched{SIGUSR1, SIGUSR2};
            CHECK(is_blocked(SIGUSR1));
            REQUIRE(std::raise(SIGUSR1) == 0);
            REQUIRE(std::raise(SIGUSR2) == 0);
        }
        CHECK(!is_blocked(SIGUSR1)); // And nothing has ended this process.
        CHECK(!is_blocked(SIGUSR2));
        CHECK(test::open_descriptors() == before);
        co_return;
    });
}

TEST_CASE("a signal that was blocked before stays blocked afterwards") {
    test::on_every_engine([]() -> gyre::task<> {
        sigset_t one;
        sigemptyset(&one);
        sigaddset(&one, SIGUSR1);
        sigset_t before;
        REQUIRE(::pthread_sigmask(SIG_BLOCK, &one, &before) == 0);
        {
            gyre::signals watched{SIGUSR1, SIGUSR2};
            CHECK(is_blocked(SIGUSR2));
        }
        CHECK(is_blocked(SIGUSR1));
        CHECK(!is_blocked(SIGUSR2));
        REQUIRE(::pthread_sigmask(SIG_SETMASK, &before, nullptr) == 0);
        co_return;
    });
}

TEST_CASE("one that ends does not unblock what another one still watches") {
    test::on_every_engine([]() -> gyre::task<> {
        std::optional<gyre::signals> first;
        first.emplace(std::initializer_list<int>{SIGUSR1});
        std::optional<gyre::signals> second;
        second.emplace(std::initializer_list<int>{SIGUSR2});
        first.reset();
        CHECK(!is_blocked(SIGUSR1));
        CHECK(is_blocked(SIGUSR2));
        second.reset();
        CHECK(!is_blocked(SIGUSR2));
        CHECK(!is_blocked(SIGUSR1));
        co_return;
    });
}

TEST_CASE("destroying it while a task waits in next ends that wait") {
    test::on_every_engine([]() -> gyre::task<> {
        std::optional<gyre::signals> watched;
        watched.emplace(std::initializer_list<int>{SIGUSR1});
        std::error_code seen;
        auto body = [&](gyre::scope& scope) -> gyre::task<> {
            scope.spawn([&]() -> gyre::task<> {
                // The limit makes a failure of a wait that does not end.
                const auto number = co_await gyre::with_timeout(watched->next(), 2s);
                seen = number.error();
            });
            const auto rested = co_await gyre::sleep_for(1ms);
            CHECK(rested);
            watched.reset();
        };
        co_await gyre::with_scope(body);
        CHECK(seen == gyre::errno_code(ECANCELED));
        CHECK(!is_blocked(SIGUSR1));
    });
}

TEST_CASE("a number that is no signal throws EINVAL, and nothing stays blocked or open") {
    const auto before = test::open_descriptors();
    try {
        const gyre::signals watched{SIGUSR1, 4711};
        FAIL("it was made");
    } catch (const std::system_error& error) {
        CHECK(error.code() == gyre::errno_code(EINVAL));
        CHECK(std::string_view(error.what()) == "signals 4711: EINVAL: no such signal");
    }
    CHECK(!is_blocked(SIGUSR1));
    CHECK(test::open_descriptors() == before);
}

TEST_SUITE_END();
