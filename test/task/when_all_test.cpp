#include <gyre/task/when_all.hpp>

#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>

TEST_SUITE_BEGIN("task/when_all");

namespace {

using namespace std::chrono_literals;

gyre::task<int> number_after(int value, int yields) {
    for (int i = 0; i < yields; ++i) {
        co_await gyre::yield();
    }
    co_return value;
}

gyre::task<gyre::result<int>> fail_after(int error, int yields) {
    for (int i = 0; i < yields; ++i) {
        co_await gyre::yield();
    }
    co_return gyre::errno_code(error);
}

gyre::task<int> throw_after(const char* text, int yields) {
    for (int i = 0; i < yields; ++i) {
        co_await gyre::yield();
    }
    throw std::runtime_error(text);
}

} // namespace

TEST_CASE("when_all yields every outcome, in the order of its arguments") {
    test::on_every_engine([]() -> gyre::task<> {
        auto text = []() -> gyre::task<std::string> { co_return std::string(50, 't'); };
        auto all = co_await gyre::when_all(number_after(1, 3), text(), number_after(2, 0));
        CHECK(std::get<0>(all) == 1);
        CHECK(std::get<1>(all) == std::string(50, 't'));
        CHECK(std::get<2>(all) == 2);
    });
}

TEST_CASE("the branches of when_all run side by side") {
    test::on_every_engine([]() -> gyre::task<> {
        bool first_waits = false;
        bool second_ran = false;
        auto first = [&]() -> gyre::task<> {
            first_waits = true;
            while (!second_ran) {
                co_await gyre::yield();
            }
        };
        auto second = [&]() -> gyre::task<> {
            while (!first_waits) {
                co_await gyre::yield();
            }
            second_ran = true;
        };
        const auto both = co_await gyre::when_all(first(), second());
        CHECK(std::get<0>(both));
        CHECK(std::get<1>(both));
    });
}

TEST_CASE("when_all yields move-only outcomes") {
    test::on_every_engine([]() -> gyre::task<> {
        auto making = [](int value) -> gyre::task<std::unique_ptr<int>> {
            co_await gyre::yield();
            co_return std::make_unique<int>(value);
        };
        const auto both = co_await gyre::when_all(making(1), making(2));
        CHECK(*std::get<0>(both) == 1);
        CHECK(*std::get<1>(both) == 2);
    });
}

TEST_CASE("when_all of a single branch, and of branches that end at once") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        const auto one = co_await gyre::when_all(number_after(3, 1));
        CHECK(std::get<0>(one) == 3);

        const auto at_once =
            co_await gyre::when_all(gyre::send_all(pair.client, test::bytes_of("")), gyre::yield());
        CHECK(std::get<0>(at_once));
        CHECK(std::get<1>(at_once));
    });
}

TEST_CASE("a failed outcome cancels the other branches, and every outcome is kept") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto all = co_await gyre::when_all(
            gyre::sleep_for(1h), fail_after(EPROTO, 2), number_after(7, 0), gyre::sleep_for(1h)
        );
        CHECK(std::get<0>(all).error() == gyre::errno_code(ECANCELED));
        CHECK(std::get<1>(all).error() == gyre::errno_code(EPROTO));
        CHECK(std::get<2>(all) == 7);
        CHECK(std::get<3>(all).error() == gyre::errno_code(ECANCELED));
    });
}

TEST_CASE("an exception cancels the other branches and is thrown when all have ended") {
    test::on_every_engine([]() -> gyre::task<> {
        bool other_ended = false;
        auto other = [&]() -> gyre::task<> {
            const auto slept = co_await gyre::sleep_for(1h);
            CHECK(slept.error() == gyre::errno_code(ECANCELED));
            co_await gyre::yield();
            other_ended = true;
        };
        CHECK_THROWS_WITH_AS(
            co_await gyre::when_all(other(), throw_after("branch", 1)), "branch", std::runtime_error
        );
        CHECK(other_ended);
    });
}

TEST_CASE("of several exceptions when_all throws the first one") {
    test::on_every_engine([]() -> gyre::task<> {
        CHECK_THROWS_WITH_AS(
            co_await gyre::when_all(throw_after("late", 5), throw_after("early", 1)),
            "early",
            std::runtime_error
        );
    });
}

TEST_CASE("a branch that fails at once has the later ones refused") {
    test::on_every_engine([]() -> gyre::task<> {
        // An endpoint without a family has no socket to make: the connect ends before it begins.
        bool ran = false;
        auto later = [&]() -> gyre::task<gyre::result<void>> {
            ran = true;
            CHECK(gyre::this_task::canceled());
            const auto slept = co_await gyre::sleep_for(1h);
            co_return slept;
        };
        const auto all = co_await gyre::when_all(
            gyre::stream::connect(gyre::endpoint()), gyre::sleep_for(1h), later()
        );
        CHECK_FALSE(std::get<0>(all));
        CHECK(std::get<0>(all).error() != gyre::errno_code(ECANCELED));
        CHECK(std::get<1>(all).error() == gyre::errno_code(ECANCELED));
        CHECK(std::get<2>(all).error() == gyre::errno_code(ECANCELED));
        CHECK(ran);
    });
}

TEST_CASE("a cancel from above ends every branch of when_all") {
    test::on_every_engine([]() -> gyre::task<> {
        auto pair = co_await test::loopback_pair();
        std::array<std::byte, 4> buffer;
        auto body = [&](gyre::scope& tasks) -> gyre::task<> {
            tasks.spawn([&]() -> gyre::task<> {
                co_await gyre::yield();
                tasks.cancel();
            });
            const auto all = co_await gyre::when_all(
                pair.server.recv(buffer), gyre::sleep_for(1h), fail_after(EPROTO, 50)
            );
            CHECK(std::get<0>(all).error() == gyre::errno_code(ECANCELED));
            CHECK(std::get<1>(all).error() == gyre::errno_code(ECANCELED));
            CHECK(std::get<2>(all).error() == gyre::errno_code(EPROTO));
        };
        co_await gyre::with_scope(body);
    });
}

TEST_CASE("when_all nests in when_all") {
    test::on_every_engine([]() -> gyre::task<> {
        const auto all = co_await gyre::when_all(
            gyre::when_all(number_after(1, 2), number_after(2, 0)),
            gyre::when_all(number_after(3, 0), number_after(4, 4))
        );
        CHECK(std::get<0>(all) == std::tuple(1, 2));
        CHECK(std::get<1>(all) == std::tuple(3, 4));
    });
}

TEST_CASE("when_all awaits scopes side by side") {
    test::on_every_engine([]() -> gyre::task<> {
        int ended = 0;
        auto body = [&](gyre::scope& tasks) -> gyre::task<int> {
            for (int i = 0; i < 3; ++i) {
                tasks.spawn([&]() -> gyre::task<> {
                    co_await gyre::yield();
                    ++ended;
                });
            }
            co_return 1;
        };
        const auto both = co_await gyre::when_all(gyre::with_scope(body), gyre::with_scope(body));
        CHECK(std::get<0>(both) + std::get<1>(both) == 2);
        CHECK(ended == 6);
    });
}

TEST_SUITE_END();
