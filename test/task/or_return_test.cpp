#include <gyre/task/or_return.hpp>
#include <gyre/task/or_throw.hpp>

#include <gyre/ring/engine.hpp>

#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>

TEST_SUITE_BEGIN("task/or_return");

namespace {

using namespace std::chrono_literals;

class noting {
public:
    noting(std::string& events, char name) noexcept : events_(&events), name_(name) {}
    noting(noting&& other) noexcept
        : events_(std::exchange(other.events_, nullptr)), name_(other.name_) {}
    noting& operator=(noting&&) = delete;
    ~noting() {
        if (events_ != nullptr) {
            *events_ += name_;
        }
    }

private:
    std::string* events_;
    char name_;
};

gyre::task<gyre::result<int>> number_or(int error, int value) {
    co_await gyre::yield();
    if (error != 0) {
        co_return gyre::errno_code(error);
    }
    co_return value;
}

gyre::task<gyre::result<void>> nothing_or(int error) {
    co_await gyre::yield();
    if (error != 0) {
        co_return gyre::errno_code(error);
    }
    co_return gyre::result<void>();
}

// A lock that only yields: what it guards is held across awaits.
class lock {
public:
    class guard {
    public:
        explicit guard(lock& which) noexcept : lock_(which) {}
        guard(const guard&) = delete;
        guard& operator=(const guard&) = delete;
        ~guard() { lock_.held_ = false; }

    private:
        lock& lock_;
    };

    gyre::task<std::unique_ptr<guard>> acquire() {
        while (held_) {
            co_await gyre::yield();
        }
        held_ = true;
        co_return std::make_unique<guard>(*this);
    }
    bool held() const noexcept { return held_; }

private:
    bool held_ = false;
};

gyre::task<gyre::result<int>> climb(int depth) {
    if (depth == 0) {
        co_return gyre::errno_code(ENOENT);
    }
    const int below = co_await gyre::or_return(climb(depth - 1));
    co_return below + 1;
}

gyre::task<gyre::result<int>> climb_noting(std::string& events, char step) {
    const noting local(events, step);
    if (step == 'd') {
        const int value = co_await gyre::or_return(number_or(ENOENT, 1));
        co_return value;
    }
    const int below = co_await gyre::or_return(climb_noting(events, static_cast<char>(step + 1)));
    co_return below;
}

} // namespace

TEST_CASE("or_return yields the value of a result that holds one") {
    test::on_every_engine([]() -> gyre::task<> {
        auto adding = []() -> gyre::task<gyre::result<int>> {
            const int one = co_await gyre::or_return(number_or(0, 1));
            const int two = co_await gyre::or_return(number_or(0, 2));
            co_await gyre::or_return(nothing_or(0));
            co_return one + two;
        };
        const auto sum = co_await adding();
        REQUIRE(sum.has_value());
        CHECK(*sum == 3);
    });
}

TEST_CASE("or_return yields a move-only value") {
    test::on_every_engine([]() -> gyre::task<> {
        auto making = []() -> gyre::task<gyre::result<std::unique_ptr<int>>> {
            co_await gyre::yield();
            co_return std::make_unique<int>(4);
        };
        auto taking = [&]() -> gyre::task<gyre::result<int>> {
            const std::unique_ptr<int> made = co_await gyre::or_return(making());
            co_return *made;
        };
        const auto value = co_await taking();
        REQUIRE(value.has_value());
        CHECK(*value == 4);
    });
}

TEST_CASE("or_return of a failure ends the task there, and its caller gets the error") {
    test::on_every_engine([]() -> gyre::task<> {
        bool went_on = false;
        auto failing = [&]() -> gyre::task<gyre::result<std::string>> {
            const int value = co_await gyre::or_return(number_or(EPROTO, 0));
            went_on = true;
            co_return std::to_string(value);
        };
        const auto outcome = co_await failing();
        CHECK(outcome.error() == gyre::errno_code(EPROTO));
        CHECK_FALSE(went_on);
    });
}

TEST_CASE("or_return of an operation that fails in flight, and of one that fails at once") {
    test::on_every_engine([]() -> gyre::task<> {
        auto in_flight = []() -> gyre::task<gyre::result<void>> {
            auto nobody = gyre::listener::bind(gyre::endpoint::loopback_v4(0));
            const auto at = nobody.local_endpoint();
            const auto closed = co_await nobody.close();
            CHECK(closed);
            co_await gyre::or_return(gyre::stream::connect(at.value()));
            CHECK(false);
            co_return gyre::result<void>();
        };
        const auto refused = co_await in_flight();
        CHECK(refused.error() == gyre::errno_code(ECONNREFUSED));

        auto at_once = []() -> gyre::task<gyre::result<void>> {
            co_await gyre::or_return(gyre::stream::connect(gyre::endpoint()));
            CHECK(false);
            co_return gyre::result<void>();
        };
        const auto failed = co_await at_once();
        CHECK_FALSE(failed);
    });
}

TEST_CASE("a failure destroys locals and parameters in order before the caller goes on") {
    test::on_every_engine([]() -> gyre::task<> {
        for (const int error : {0, EPROTO}) {
            std::string events;
            auto working = [&](noting) -> gyre::task<gyre::result<void>> {
                const noting first(events, '1');
                const noting second(events, '2');
                co_await gyre::or_return(nothing_or(error));
                co_return gyre::result<void>();
            };
            const auto outcome = co_await working(noting(events, 'p'));
            events += 'c';
            CHECK(outcome.has_value() == (error == 0));
            CHECK(events == "21pc"); // As by co_return.
        }
    });
}

TEST_CASE("a failure climbs through every or_return, and each frame goes before its caller's") {
    test::on_every_engine([]() -> gyre::task<> {
        std::string events;
        const auto outcome = co_await climb_noting(events, 'a');
        CHECK(outcome.error() == gyre::errno_code(ENOENT));
        CHECK(events == "dcba");
    });
}

TEST_CASE("a failure climbs a chain of 10,000 tasks") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto outcome = co_await climb(10'000);
        CHECK(outcome.error() == gyre::errno_code(ENOENT));
    });
}

TEST_CASE("an exception of the awaited task passes through or_return and can be caught") {
    test::on_every_engine([]() -> gyre::task<> {
        auto throwing = []() -> gyre::task<gyre::result<int>> {
            co_await gyre::yield();
            throw std::runtime_error("thrown");
        };
        auto catching = [&]() -> gyre::task<gyre::result<int>> {
            try {
                const int value = co_await gyre::or_return(throwing());
                co_return value;
            } catch (const std::runtime_error&) {
                co_return 77;
            }
        };
        auto passing = [&]() -> gyre::task<gyre::result<int>> {
            const int value = co_await gyre::or_return(throwing());
            co_return value;
        };
        const auto caught = co_await catching();
        REQUIRE(caught.has_value());
        CHECK(*caught == 77);
        CHECK_THROWS_WITH_AS(static_cast<void>(co_await passing()), "thrown", std::runtime_error);
    });
}

TEST_CASE("a failed task gives up the lock that its sibling waits for") {
    test::on_every_engine([]() -> gyre::task<> {
        lock shared;
        std::string events;
        auto failing = [&]() -> gyre::task<gyre::result<void>> {
            const auto guard = co_await shared.acquire();
            events += 'f';
            co_await gyre::or_return(nothing_or(EPROTO));
            co_return gyre::result<void>();
        };
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn([&]() -> gyre::task<> {
                const auto outcome = co_await failing();
                CHECK_FALSE(outcome);
                events += shared.held() ? 'h' : 'e';
            });
            tasks.spawn([&]() -> gyre::task<> {
                co_await gyre::yield();
                const auto guard = co_await shared.acquire();
                CHECK(guard != nullptr);
                events += 's';
            });
            const auto joined = co_await tasks.join();
            CHECK(joined);
        };
        co_await gyre::with_scope(body);
        CHECK((events == "fes" || events == "fsh"));
        CHECK_FALSE(shared.held());
    });
}

TEST_CASE("or_return leaves a loop at the first failure") {
    test::on_every_engine([]() -> gyre::task<> {
        int rounds = 0;
        auto looping = [&]() -> gyre::task<gyre::result<int>> {
            int sum = 0;
            for (;; ++rounds) {
                const std::string in_the_loop(100, 'x');
                const int error = rounds == 100 ? ENOENT : 0;
                const int value = co_await gyre::or_return(number_or(error, 1));
                sum += value + static_cast<int>(in_the_loop.size());
            }
            co_return sum;
        };
        const auto outcome = co_await looping();
        CHECK(outcome.error() == gyre::errno_code(ENOENT));
        CHECK(rounds == 100);
    });
}

TEST_CASE("or_return of a transfer yields its bytes, or its error") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::array<std::byte, 4> buffer;
        auto exchanging = [&]() -> gyre::task<gyre::result<std::size_t>> {
            const std::size_t sent =
                co_await gyre::or_return(gyre::send_all(pair.client, test::bytes_of("1234")));
            CHECK(sent == 4);
            const std::size_t received =
                co_await gyre::or_return(gyre::recv_exactly(pair.server, buffer));
            CHECK(received == 4);
            const auto shut = pair.client.shutdown(gyre::shutdown_side::send);
            CHECK(shut);
            const std::size_t more =
                co_await gyre::or_return(gyre::recv_exactly(pair.server, buffer));
            co_return more;
        };
        const auto outcome = co_await exchanging();
        CHECK(outcome.error() == gyre::errc::end_of_stream);
    });
}

TEST_CASE("or_return of a limit that passed returns timed_out") {
    test::on_every_engine([]() -> gyre::task<> {
        auto limited = []() -> gyre::task<gyre::result<void>> {
            co_await gyre::or_return(gyre::with_timeout(gyre::sleep_for(1h), 1ms));
            co_return gyre::result<void>();
        };
        const auto outcome = co_await limited();
        CHECK(outcome.error() == gyre::errc::timed_out);
    });
}

TEST_CASE("a cancel between the failure and the end of the task changes nothing") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [&](gyre::scope& tasks) -> gyre::task<gyre::result<void>> {
            bool failed = false;
            auto failing = [&]() -> gyre::task<gyre::result<void>> {
                co_await gyre::yield();
                failed = true;
                co_return gyre::errno_code(EPROTO);
            };
            tasks.spawn([&]() -> gyre::task<gyre::result<void>> {
                co_await gyre::or_return(gyre::with_timeout(failing(), 1h));
                co_return gyre::result<void>();
            });
            while (!failed) {
                co_await gyre::yield();
            }
            tasks.cancel();
            const auto joined = co_await tasks.join();
            co_return joined;
        };
        const auto outcome = co_await gyre::with_scope(body);
        CHECK(outcome.error() == gyre::errno_code(EPROTO));
    });
}

TEST_CASE("a branch of when_all that leaves by or_return is a failed branch") {
    test::on_every_engine([]() -> gyre::task<> {
        auto failing = []() -> gyre::task<gyre::result<int>> {
            const int value = co_await gyre::or_return(number_or(EPROTO, 0));
            co_return value;
        };
        const auto all = co_await gyre::when_all(gyre::sleep_for(1h), failing());
        CHECK(std::get<0>(all).error() == gyre::errno_code(ECANCELED));
        CHECK(std::get<1>(all).error() == gyre::errno_code(EPROTO));
    });
}

TEST_CASE("a spawned task that leaves by or_return fails its scope") {
    test::on_every_engine([]() -> gyre::task<> {
        auto body = [](gyre::scope& tasks) -> gyre::task<gyre::result<void>> {
            tasks.spawn([]() -> gyre::task<gyre::result<void>> {
                co_await gyre::or_return(number_or(EPROTO, 0));
                co_return gyre::result<void>();
            });
            const auto slept = co_await gyre::sleep_for(1h);
            co_return slept;
        };
        const auto outcome = co_await gyre::with_scope(body);
        CHECK(outcome.error() == gyre::errno_code(EPROTO));
    });
}

TEST_CASE("the main task may leave by or_return") {
    gyre::scheduler_options options;
    for (const gyre::engine_kind engine : test::engines()) {
        options.engine = engine;
        const auto outcome = gyre::run(options, []() -> gyre::task<gyre::result<int>> {
            const int value = co_await gyre::or_return(number_or(EPROTO, 0));
            co_return value;
        });
        CHECK(outcome.error() == gyre::errno_code(EPROTO));
    }
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("task/or_throw");

TEST_CASE("or_throw yields the value of a result that holds one") {
    test::on_every_engine([]() -> gyre::task<> {
        const int value = co_await gyre::or_throw(number_or(0, 6));
        CHECK(value == 6);
        co_await gyre::or_throw(nothing_or(0));
    });
}

TEST_CASE("or_throw throws the error and says what failed") {
    test::on_every_engine([]() -> gyre::task<> {
        std::error_code thrown;
        std::string text;
        try {
            co_await gyre::or_throw(nothing_or(EPROTO));
        } catch (const std::system_error& error) {
            thrown = error.code();
            text = error.what();
        }
        CHECK(thrown == gyre::errno_code(EPROTO));
        CHECK(text.find("task") != std::string::npos);
    });
}

TEST_CASE("or_throw of a transfer yields its bytes, or throws its error") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const std::size_t sent =
            co_await gyre::or_throw(gyre::send_all(pair.client, test::bytes_of("12")));
        CHECK(sent == 2);
        const auto shut = pair.client.shutdown(gyre::shutdown_side::send);
        CHECK(shut);
        std::array<std::byte, 4> buffer;
        std::error_code thrown;
        try {
            const std::size_t received =
                co_await gyre::or_throw(gyre::recv_exactly(pair.server, buffer));
            static_cast<void>(received);
        } catch (const std::system_error& error) {
            thrown = error.code();
        }
        CHECK(thrown == gyre::errc::end_of_stream);
    });
}

TEST_SUITE_END();
