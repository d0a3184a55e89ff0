#include <gyre/scheduler/run_loop.hpp>

#include "support/scripted_engine.hpp"
#include "support/test.hpp"

#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <span>
#include <tuple>
#include <utility>

TEST_SUITE_BEGIN("task/when_any");

TEST_CASE("a branch that is being submitted when another one ends is canceled, too") {
    // One submission entry: the third branch has to wait for room. The engine is busy at first, so
    // the loop reaps, finds the first branch ended, and cancels one that has no slot yet.
    auto owned = std::make_unique<test::scripted_engine>(1);
    test::scripted_engine& engine = *owned;
    gyre::detail::run_loop loop(std::move(owned));
    std::array<gyre::stream_pair, 3> pairs = {
        gyre::stream::pair(), gyre::stream::pair(), gyre::stream::pair()
    };
    std::array<std::byte, 3> bytes;
    bool was_busy = false;
    engine.when_entered = [&](unsigned) {
        if (!was_busy && engine.pending.size() == 1 && engine.submissions.queued() == 1) {
            was_busy = true;
            engine.answers.push_back(-EBUSY);
            engine.complete(engine.pending.front().user_data, 1);
        }
    };
    bool over = false;
    gyre::detail::spawn_into(gyre::detail::root_of(loop), [&]() -> gyre::task<> {
        const auto ended = co_await gyre::when_any(
            pairs[0].second.recv(std::span(bytes).subspan(0, 1)),
            pairs[1].second.recv(std::span(bytes).subspan(1, 1)),
            pairs[2].second.recv(std::span(bytes).subspan(2, 1))
        );
        CHECK(ended.index == 0);
        CHECK(std::get<1>(ended.outcomes).error() == gyre::errno_code(ECANCELED));
        CHECK(std::get<2>(ended.outcomes).error() == gyre::errno_code(ECANCELED));
        over = true;
    });
    while (!over) {
        loop.step(true); // The engine ends the program rather than wait for ever.
    }
    const bool ended = loop.shut_down(0);
    CHECK(ended);
}

TEST_SUITE_END();
