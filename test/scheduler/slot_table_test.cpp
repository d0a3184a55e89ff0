#include <gyre/scheduler/slot_table.hpp>

#include <gyre/scheduler/run_loop.hpp>

#include "support/test.hpp"

#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <vector>

using gyre::detail::cancel_state;
using gyre::detail::operation_id;
using gyre::detail::slot_table;

namespace {

constexpr gyre::detail::operation_kind kind_of_test = {{nullptr, "test"}, 0, nullptr, nullptr};

struct test_operation : gyre::detail::operation {
    test_operation() noexcept : operation(kind_of_test) {}
};

// The index of the slot that `which` got: the lower half of its id.
std::uint32_t take(slot_table& table, test_operation& which) {
    return static_cast<std::uint32_t>(table.take(which).id);
}

} // namespace

TEST_SUITE_BEGIN("scheduler/slot_table");

TEST_CASE("an id finds its operation until the operation ends, and nothing afterwards") {
    slot_table table;
    test_operation first;
    test_operation second;

    const std::uint32_t index = take(table, first);
    const operation_id id = table.id(index);
    REQUIRE(table.find(id) != nullptr);
    CHECK(table.find(id)->target == &first);
    table.release(table[index]);
    CHECK(table.find(id) == nullptr);
    const std::uint32_t next = take(table, second);

    CHECK(table.find(id) == nullptr);
    CHECK(table.find(table.id(next))->target == &second);
}

TEST_CASE("no id is found that was never given out") {
    slot_table table;
    CHECK(table.find(0) == nullptr);
    CHECK(table.find(~operation_id{0}) == nullptr);
    test_operation one;
    const std::uint32_t index = take(table, one);
    const operation_id id = table.id(index);

    CHECK(table.find(0) == nullptr);
    CHECK(table.find(~operation_id{0}) == nullptr);
    CHECK(table.find(id + 1) == nullptr);
    CHECK(table.find(id + (operation_id{1} << 32)) == nullptr);
    CHECK(table.find(id - (operation_id{1} << 32)) == nullptr);
}

TEST_CASE("the table grows and keeps every id as it is") {
    slot_table table;
    std::vector<test_operation> operations(5000);
    std::map<operation_id, test_operation*> given;

    for (test_operation& each : operations) {
        given.emplace(table.id(take(table, each)), &each);
    }

    CHECK(given.size() == operations.size());
    CHECK(table.used() == operations.size());
    for (const auto& [id, operation] : given) {
        REQUIRE(table.find(id) != nullptr);
        CHECK(table.find(id)->target == operation);
    }
}

TEST_CASE("ids do not repeat while slots come and go at random") {
    std::mt19937 random(1);
    slot_table table;
    test_operation one;
    std::set<operation_id> seen;
    std::vector<std::uint32_t> used;

    for (int action = 0; action < 20'000; ++action) {
        if (used.size() < 100 && random() % 2 == 0) {
            used.push_back(take(table, one));
            REQUIRE(seen.insert(table.id(used.back())).second);
        } else if (!used.empty()) {
            const std::size_t which = random() % used.size();
            table.release(table[used[which]]);
            used[which] = used.back();
            used.pop_back();
        }
        REQUIRE(table.used() == used.size());
    }
}

TEST_CASE("a slot that ends while a list of cancels links it is not given out before that list") {
    slot_table table;
    test_operation one;
    for (const cancel_state state : {cancel_state::queued, cancel_state::missed}) {
        const std::uint32_t index = take(table, one);
        table[index].cancel = state;

        table.release(table[index]);
        CHECK(table.used() == 0); // It is not free, but nothing is in flight.
        const std::uint32_t other = take(table, one);
        CHECK(other != index);
        CHECK(table[index].target == nullptr);
        table.free(table[index]);

        CHECK(take(table, one) == index);
        CHECK(table[index].cancel == cancel_state::none);
        table.release(table[index]);
        table.release(table[other]);
    }
}

TEST_CASE("a slot whose cancel was sent is given out again once its operation has ended") {
    slot_table table;
    test_operation one;
    const std::uint32_t index = take(table, one);
    table[index].cancel = cancel_state::sent;

    table.release(table[index]);

    CHECK(take(table, one) == index);
    CHECK(table[index].cancel == cancel_state::none);
}

// 0 says that a stream has no operation in flight. At a million operations a second one slot comes
// round in an hour.
TEST_CASE("no operation is named 0 although generations come round") {
    slot_table table;
    test_operation one;
    std::uint32_t index = take(table, one);
    table[index].id |= operation_id{0xffff'ffff} << 32; // The last generation of all.

    for (int turn = 0; turn < 3; ++turn) {
        CHECK(table.id(index) != 0);
        REQUIRE(table.find(table.id(index)) != nullptr);
        table.release(table[index]);
        index = take(table, one);
    }
}

TEST_SUITE_END();
