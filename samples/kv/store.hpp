// store.hpp: keys and their values, some of which have an end.
#pragma once

#include <gyre/scheduler/clock.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace samples {

/// Strings by key. A key whose end has passed is not there, whether `expire` has removed it yet or
/// not. Every call takes the time as an argument: there is no clock in it.
class store {
public:
    using time_point = std::chrono::time_point<gyre::clock, std::chrono::milliseconds>;
    /// The end of what has none.
    static constexpr time_point never = time_point::max();

    struct entry {
        std::string value;
        time_point end = never;
    };

    /// Null if there is no such key. Valid until the next call that changes something.
    const entry* find(std::string_view key, time_point now) {
        const auto found = live(key, now);
        return found == entries_.end() ? nullptr : &found->second;
    }

    void set(std::string_view key, std::string value, time_point end, time_point now) {
        auto found = live(key, now);
        if (found == entries_.end()) {
            found = entries_.try_emplace(std::string(key)).first;
            bytes_ += key.size();
        }
        bytes_ += value.size() - found->second.value.size();
        found->second.value = std::move(value);
        change_end(*found, end);
    }

    /// Whether there is such a key. One with an end that has come already is removed.
    bool set_end(std::string_view key, time_point end, time_point now) {
        const auto found = live(key, now);
        if (found == entries_.end()) {
            return false;
        }
        if (end <= now) {
            remove(found);
        } else {
            change_end(*found, end);
        }
        return true;
    }

    bool remove(std::string_view key, time_point now) {
        const auto found = live(key, now);
        if (found == entries_.end()) {
            return false;
        }
        remove(found);
        return true;
    }

    /// Removes up to `count_max` keys whose end has passed; how many that were.
    std::size_t expire(time_point now, std::size_t count_max) {
        std::size_t count = 0;
        while (count < count_max && !ends_.empty() && ends_.begin()->first < now) {
            remove(entries_.find(ends_.begin()->second->first));
            ++count;
        }
        expired_ += count;
        return count;
    }

    /// Keys, also those whose end has passed and which are still to be removed.
    std::size_t size() const noexcept { return entries_.size(); }
    std::size_t with_end() const noexcept { return ends_.size(); }
    std::size_t bytes() const noexcept { return bytes_; } ///< Of all keys and values.
    std::uint64_t expired() const noexcept { return expired_; }

private:
    struct hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view key) const noexcept {
            return std::hash<std::string_view>()(key);
        }
    };
    using entries = std::unordered_map<std::string, entry, hash, std::equal_to<>>;

    // An entry stays where it is for its whole life, so its address names it.
    using node = entries::value_type;

    entries::iterator live(std::string_view key, time_point now) {
        const auto found = entries_.find(key);
        if (found != entries_.end() && found->second.end < now) {
            remove(found);
            ++expired_;
            return entries_.end();
        }
        return found;
    }

    void change_end(node& which, time_point end) {
        if (which.second.end == end) {
            return;
        }
        if (which.second.end != never) {
            ends_.erase({which.second.end, &which});
        }
        which.second.end = end;
        if (end != never) {
            ends_.emplace(end, &which);
        }
    }

    void remove(entries::iterator which) {
        change_end(*which, never);
        bytes_ -= which->first.size() + which->second.value.size();
        entries_.erase(which);
    }

    entries entries_;
    std::set<std::pair<time_point, const node*>> ends_; // The next one first.
    std::size_t bytes_ = 0;
    std::uint64_t expired_ = 0;
};

} // namespace samples
