#include "samples/kv/store.hpp"

#include "support/fuzz.hpp"
#include "support/test.hpp"

#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <utility>

using namespace std::chrono_literals;

namespace {

using samples::store;

constexpr store::time_point start{1000ms};

std::string value_of(store& keys, const char* key, store::time_point now) {
    const store::entry* const found = keys.find(key, now);
    return found == nullptr ? "(none)" : found->value;
}

} // namespace

TEST_SUITE_BEGIN("samples/kv/store");

TEST_CASE("a key is there until its end has passed, and not longer") {
    store keys;
    keys.set("k", "v", start + 10ms, start);
    CHECK(value_of(keys, "k", start + 10ms) == "v");
    CHECK(keys.size() == 1);
    CHECK(value_of(keys, "k", start + 11ms) == "(none)");
    CHECK(keys.size() == 0);
    CHECK(keys.with_end() == 0);
    CHECK(keys.bytes() == 0);
    CHECK(keys.expired() == 1);
}

TEST_CASE("a key whose end has passed is as good as one that never was") {
    store keys;
    keys.set("k", "v", start, start);
    CHECK(!keys.remove("k", start + 1ms));
    keys.set("k", "v", start, start);
    CHECK(!keys.set_end("k", store::never, start + 1ms));
    CHECK(keys.size() == 0);
}

TEST_CASE("an end that is there already removes the key") {
    store keys;
    keys.set("k", "v", store::never, start);
    CHECK(keys.set_end("k", start, start));
    CHECK(keys.size() == 0);
    CHECK(!keys.set_end("k", start, start));
}

TEST_CASE("a new value and a new end take the place of the old ones") {
    store keys;
    keys.set("key", "long value", start + 5ms, start);
    CHECK(keys.bytes() == 13);
    keys.set("key", "v", store::never, start);
    CHECK(keys.bytes() == 4);
    CHECK(keys.with_end() == 0);
    CHECK(value_of(keys, "key", start + 1h) == "v");
    CHECK(keys.set_end("key", start + 20ms, start));
    CHECK(keys.set_end("key", start + 10ms, start));
    CHECK(keys.with_end() == 1);
    CHECK(value_of(keys, "key", start + 11ms) == "(none)");
}

TEST_CASE("expire removes what has passed, the earliest first, and no more than asked for") {
    store keys;
    for (int index = 0; index < 10; ++index) {
        const auto end = start + std::chrono::milliseconds(10 - index);
        keys.set(std::to_string(index), "v", end, start);
    }
    keys.set("stays", "v", store::never, start);
    CHECK(keys.expire(start + 1ms, 100) == 0);
    CHECK(keys.expire(start + 6ms, 2) == 2);
    CHECK(value_of(keys, "7", start) == "v");
    CHECK(value_of(keys, "8", start) == "(none)");
    CHECK(keys.expire(start + 6ms, 100) == 3);
    CHECK(keys.expire(start + 1h, 100) == 5);
    CHECK(keys.size() == 1);
    CHECK(keys.expired() == 10);
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("samples/fuzz");

TEST_CASE("a store holds what a map would, and no more than is there") {
    test::fuzz({}, [](test::trial& round) {
        struct model {
            std::string value;
            store::time_point end;
        };
        store keys;
        std::map<std::string, model> expected;
        store::time_point now = start;
        for (int step = 0; step < 300; ++step) {
            now += std::chrono::milliseconds(round.below(3));
            std::erase_if(expected, [&](const auto& each) { return each.second.end < now; });
            const std::string key(1 + round.below(3), static_cast<char>('a' + round.below(3)));
            const auto end =
                round.one_in(2) ? store::never : now + std::chrono::milliseconds(round.below(20));
            switch (round.below(5)) {
            case 0: {
                const std::string value(round.below(30), 'v');
                keys.set(key, value, end, now);
                expected[key] = {value, end};
                break;
            }
            case 1:
                round.expect(
                    keys.remove(key, now) == (expected.erase(key) == 1), "remove is wrong"
                );
                break;
            case 2: {
                const auto found = expected.find(key);
                round.expect(
                    keys.set_end(key, end, now) == (found != expected.end()), "set_end is wrong"
                );
                if (found != expected.end()) {
                    found->second.end = end;
                    if (end <= now) {
                        expected.erase(found);
                    }
                }
                break;
            }
            case 3:
                keys.expire(now, round.below(4));
                break;
            default: {
                const auto found = expected.find(key);
                const store::entry* const entry = keys.find(key, now);
                round.expect((entry == nullptr) == (found == expected.end()), "find is wrong");
                if (entry != nullptr && found != expected.end()) {
                    round.expect(entry->value == found->second.value, "the value is wrong");
                    round.expect(entry->end == found->second.end, "the end is wrong");
                }
            }
            }
        }
        keys.expire(now, 1000);
        std::size_t bytes = 0;
        std::size_t with_end = 0;
        for (const auto& [key, each] : expected) {
            bytes += key.size() + each.value.size();
            with_end += each.end == store::never ? 0U : 1U;
        }
        round.expect(keys.size() == expected.size(), "there are more keys or fewer");
        round.expect(keys.bytes() == bytes, "the bytes are miscounted");
        round.expect(keys.with_end() == with_end, "the ends are miscounted");
    });
}

TEST_SUITE_END();
