#include <gyre/result.hpp>

#include <gyre/error.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <cstddef>
#include <memory>
#include <new>
#include <ostream> // IWYU pragma: keep (doctest prints error codes through it)
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

namespace {

using gyre::result;

// A result is as trivial, copyable and movable as what it holds.
static_assert(std::is_trivially_copyable_v<result<std::size_t>>);
static_assert(std::is_trivially_destructible_v<result<std::size_t>>);
static_assert(std::is_trivially_copyable_v<result<void>>);
static_assert(sizeof(result<std::size_t>) <= 16); // Two registers.
static_assert(sizeof(result<void>) <= 16);
static_assert(!std::is_trivially_copyable_v<result<std::string>>);
static_assert(std::is_copy_constructible_v<result<std::string>>);
static_assert(std::is_copy_assignable_v<result<std::string>>);
static_assert(std::is_nothrow_move_constructible_v<result<std::string>>);
static_assert(!std::is_copy_constructible_v<result<std::unique_ptr<int>>>);
static_assert(!std::is_copy_assignable_v<result<std::unique_ptr<int>>>);
static_assert(std::is_nothrow_move_constructible_v<result<std::unique_ptr<int>>>);
static_assert(std::is_nothrow_move_assignable_v<result<std::unique_ptr<int>>>);

// gcc 12 destroys temporaries of aggregates twice inside a co_await expression.
static_assert(!std::is_aggregate_v<result<std::string>>);
static_assert(!std::is_aggregate_v<result<void>>);

// What converts to the value converts to the result; an error never becomes a value.
static_assert(std::is_convertible_v<const char*, result<std::string>>);
static_assert(std::is_convertible_v<gyre::errc, result<std::string>>);
static_assert(std::is_convertible_v<std::error_code, result<bool>>);
static_assert(!std::is_convertible_v<std::string, result<int>>);
static_assert(!std::is_convertible_v<result<int>, int>);
static_assert(!std::is_convertible_v<result<int>, bool>);

static_assert(gyre::is_result_v<result<int>>);
static_assert(gyre::is_result_v<const result<void>&>);
static_assert(!gyre::is_result_v<int>);
static_assert(!gyre::is_result_v<void>);
static_assert(std::is_same_v<gyre::result_value_t<result<int>&&>, int>);
static_assert(std::is_same_v<gyre::result_value_t<result<void>>, void>);

// Counts how many of its kind are alive, and fails its copies on request.
class witness {
public:
    explicit witness(int& alive) : alive_(&alive) { ++*alive_; }
    witness(const witness& other) : throws_on_copy(other.throws_on_copy), alive_(other.alive_) {
        if (throws_on_copy) {
            throw std::bad_alloc();
        }
        ++*alive_;
    }
    witness(witness&& other) noexcept : alive_(other.alive_) { ++*alive_; }
    witness& operator=(const witness&) = default;
    ~witness() { --*alive_; }

    bool throws_on_copy = false;

private:
    int* alive_;
};

result<std::string> text_or_error(int choice) {
    switch (choice) {
    case 0:
        return "a value";
    case 1:
        return gyre::errno_code(ECONNRESET);
    default:
        return gyre::errc::stopped;
    }
}

TEST_SUITE_BEGIN("result");

TEST_CASE("a function returns a value, an error code or an errc alike") {
    const auto value = text_or_error(0);
    const auto error = text_or_error(1);
    const auto stopped = text_or_error(2);

    REQUIRE(value);
    CHECK(value.has_value());
    CHECK(*value == "a value");
    CHECK_FALSE(error);
    CHECK_FALSE(error.has_value());
    CHECK(error.error() == std::errc::connection_reset);
    CHECK(stopped.error() == gyre::errc::stopped);
}

TEST_CASE("a result with a value has an empty error") {
    const result<int> value = 7;

    CHECK_FALSE(value.error());
    CHECK(value.error() == std::error_code());
}

TEST_CASE("a value of zero is a value") {
    const result<std::size_t> zero = 0U;

    REQUIRE(zero);
    CHECK(*zero == 0);
}

TEST_CASE("a result of bool converts to whether it has a value, not to the value") {
    const result<bool> no = false;

    CHECK(static_cast<bool>(no));
    CHECK_FALSE(*no);
}

TEST_CASE("value() throws a std::system_error that carries the error") {
    auto error = text_or_error(1);

    CHECK_THROWS_WITH_AS(
        error.value(), "result::value: ECONNRESET: Connection reset by peer", std::system_error
    );
    CHECK_THROWS_AS(std::as_const(error).value(), std::system_error);
    CHECK_THROWS_AS(std::move(error).value(), std::system_error);
    try {
        text_or_error(2).value();
    } catch (const std::system_error& thrown) {
        CHECK(thrown.code() == gyre::errc::stopped);
    }
}

TEST_CASE("value() yields the value when there is one") {
    auto value = text_or_error(0);

    value.value() += '!';

    CHECK(std::as_const(value).value() == "a value!");
    CHECK(value->size() == 8);
}

TEST_CASE("value_or yields the fallback only in place of an error") {
    CHECK(text_or_error(0).value_or("fallback") == "a value");
    CHECK(text_or_error(1).value_or("fallback") == "fallback");
    const auto kept = text_or_error(0);
    CHECK(kept.value_or("fallback") == "a value");
    CHECK(*kept == "a value");
}

TEST_CASE("a move-only value goes in and comes out") {
    result<std::unique_ptr<int>> made = std::make_unique<int>(7);

    auto moved = std::move(made);
    const std::unique_ptr<int> taken = *std::move(moved);

    REQUIRE(taken);
    CHECK(*taken == 7);
}

TEST_CASE("assignment goes from each kind to each kind") {
    for (const int from : {0, 1, 2}) {
        for (const int to : {0, 1, 2}) {
            auto copied = text_or_error(to);
            auto moved = text_or_error(to);
            const auto source = text_or_error(from);

            copied = source;
            moved = text_or_error(from);

            for (const auto& assigned : {copied, moved}) {
                CHECK(assigned.has_value() == source.has_value());
                CHECK(assigned.error() == source.error());
                CHECK(assigned.value_or("") == source.value_or(""));
            }
        }
    }
}

TEST_CASE("a result assigned to itself keeps what it has") {
    for (const int choice : {0, 1}) {
        auto copied = text_or_error(choice);
        const auto& copied_alias = copied;
        copied = copied_alias;
        CHECK(copied.value_or("none") == text_or_error(choice).value_or("none"));
        CHECK(copied.error() == text_or_error(choice).error());
    }
    auto moved = text_or_error(1);
    auto& moved_alias = moved;
    moved = std::move(moved_alias);
    CHECK(moved.error() == std::errc::connection_reset);
}

TEST_CASE("every value made is destroyed once") {
    int alive = 0;
    {
        result<witness> first = witness(alive);
        result<witness> second = gyre::errc::closed;
        CHECK(alive == 1);

        second = first;
        CHECK(alive == 2);
        first = gyre::errc::stopped;
        CHECK(alive == 1);
        first = std::move(second);
        CHECK(alive == 2);
        result<witness> third = first;
        const result<witness> fourth = std::move(third);
        CHECK(alive == 4);
        CHECK(fourth);
    }
    CHECK(alive == 0);
}

TEST_CASE("an assignment whose copy throws leaves the result as it was") {
    int alive = 0;
    result<witness> target = gyre::errc::closed;
    result<witness> source = witness(alive);
    source->throws_on_copy = true;

    CHECK_THROWS_AS(target = source, std::bad_alloc);

    CHECK(target.error() == gyre::errc::closed);
    CHECK(alive == 1);
}

TEST_CASE("a result<void> is a success unless told otherwise") {
    const result<void> success;
    const result<void> failed = gyre::errno_code(EPIPE);
    const result<void> stopped = gyre::errc::stopped;

    CHECK(success);
    CHECK_FALSE(success.error());
    CHECK_NOTHROW(success.value());
    CHECK_FALSE(failed);
    CHECK(failed.error() == std::errc::broken_pipe);
    CHECK_THROWS_WITH_AS(failed.value(), "result::value: EPIPE: Broken pipe", std::system_error);
    CHECK(stopped.error() == gyre::errc::stopped);
}

TEST_SUITE_END();

} // namespace
