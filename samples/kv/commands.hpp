// commands.hpp: what kv_server knows to do, with the words of Redis 7.
#pragma once

#include "resp.hpp"
#include "store.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <unistd.h>

namespace samples::kv {

/// What all connections share.
struct state {
    store keys;
    resp::limits limits;
    std::string engine;   ///< By its name.
    std::string endpoint; ///< Where it listens.
    store::time_point started;

    std::size_t clients = 0;
    std::uint64_t connections = 0;
    std::uint64_t commands = 0;
    std::uint64_t bytes_in = 0;
    std::uint64_t bytes_out = 0;
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;
};

/// A command, and where its reply goes.
struct call {
    state& server;
    store::time_point now;
    std::span<const std::string_view> arguments; ///< The name first.
    std::string& reply;
    bool& wants_end; ///< The client has said goodbye.
};

inline bool is_word(std::string_view text, std::string_view upper) noexcept {
    const auto same = [](char each, char one) {
        return (each >= 'a' && each <= 'z' ? static_cast<char>(each - 32) : each) == one;
    };
    return std::equal(text.begin(), text.end(), upper.begin(), upper.end(), same);
}

inline constexpr const char* no_integer = "ERR value is not an integer or out of range";
inline constexpr const char* syntax_error = "ERR syntax error";

// --- Strings ---

inline const store::entry* look_up(call& made, std::string_view key) {
    const store::entry* const found = made.server.keys.find(key, made.now);
    ++(found != nullptr ? made.server.hits : made.server.misses);
    return found;
}

inline void add_value(call& made, const store::entry* found) {
    if (found == nullptr) {
        resp::add_null(made.reply);
    } else {
        resp::add_bulk(made.reply, found->value);
    }
}

inline void get(call& made) {
    add_value(made, look_up(made, made.arguments[1]));
}

/// The moment that is so many `units` milliseconds away; nothing if no time can say it.
inline std::optional<store::time_point>
end_in(store::time_point now, std::int64_t count, std::int64_t units) {
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
    const std::int64_t base = now.time_since_epoch().count();
    if (count > (most - base) / units || count < -(most / units)) {
        return std::nullopt;
    }
    const store::time_point end = now + std::chrono::milliseconds(count * units);
    return end == store::never ? std::nullopt : std::optional(end);
}

inline void set(call& made) {
    bool if_missing = false;
    bool if_there = false;
    bool keeps_end = false;
    bool wants_old = false;
    std::int64_t units = 0; // Milliseconds that a time is counted in; 0: there is none.
    std::string_view time;
    const auto arguments = made.arguments;
    for (std::size_t at = 3; at < arguments.size(); ++at) {
        const std::string_view option = arguments[at];
        const bool has_value = at + 1 < arguments.size();
        if (is_word(option, "NX") && !if_there) {
            if_missing = true;
        } else if (is_word(option, "XX") && !if_missing) {
            if_there = true;
        } else if (is_word(option, "GET")) {
            wants_old = true;
        } else if (is_word(option, "KEEPTTL") && units == 0) {
            keeps_end = true;
        } else if (is_word(option, "EX") && units == 0 && !keeps_end && has_value) {
            units = 1000;
            time = arguments[++at];
        } else if (is_word(option, "PX") && units == 0 && !keeps_end && has_value) {
            units = 1;
            time = arguments[++at];
        } else {
            return resp::add_error(made.reply, syntax_error);
        }
    }
    store::time_point end = store::never;
    if (units != 0) {
        const auto count = resp::parse_integer(time);
        if (!count) {
            return resp::add_error(made.reply, no_integer);
        }
        const auto moment = *count > 0 ? end_in(made.now, *count, units) : std::nullopt;
        if (!moment) {
            return resp::add_error(made.reply, "ERR invalid expire time in 'set' command");
        }
        end = *moment;
    }
    const std::string_view key = arguments[1];
    const store::entry* const old = made.server.keys.find(key, made.now);
    const bool is_there = old != nullptr;
    if (wants_old) {
        add_value(made, look_up(made, key));
    }
    if ((if_missing && is_there) || (if_there && !is_there)) {
        if (!wants_old) {
            resp::add_null(made.reply);
        }
        return;
    }
    if (keeps_end && is_there) {
        end = old->end;
    }
    made.server.keys.set(key, std::string(arguments[2]), end, made.now);
    if (!wants_old) {
        resp::add_simple(made.reply, "OK");
    }
}

inline void increment(call& made) {
    const store::entry* const found = made.server.keys.find(made.arguments[1], made.now);
    const auto value = found == nullptr ? 0 : resp::parse_integer(found->value);
    if (!value) {
        return resp::add_error(made.reply, no_integer);
    }
    if (*value == std::numeric_limits<std::int64_t>::max()) {
        return resp::add_error(made.reply, "ERR increment or decrement would overflow");
    }
    const store::time_point end = found == nullptr ? store::never : found->end;
    made.server.keys.set(made.arguments[1], std::to_string(*value + 1), end, made.now);
    resp::add_integer(made.reply, *value + 1);
}

inline void get_many(call& made) {
    const auto keys = made.arguments.subspan(1);
    // The same large value can be asked for again and again: a reply has the limit of a command.
    std::size_t size = 0;
    for (const std::string_view key : keys) {
        const store::entry* const found = made.server.keys.find(key, made.now);
        size += found == nullptr ? 0 : found->value.size();
        if (size > made.server.limits.command_max) {
            return resp::add_error(made.reply, "ERR the reply would be too large");
        }
    }
    resp::add_array(made.reply, keys.size());
    for (const std::string_view key : keys) {
        add_value(made, look_up(made, key));
    }
}

inline void set_many(call& made) {
    const auto pairs = made.arguments.subspan(1);
    if (pairs.size() % 2 != 0) {
        return resp::add_error(made.reply, "ERR wrong number of arguments for 'mset' command");
    }
    for (std::size_t at = 0; at < pairs.size(); at += 2) {
        made.server.keys.set(pairs[at], std::string(pairs[at + 1]), store::never, made.now);
    }
    resp::add_simple(made.reply, "OK");
}

// --- Keys ---

inline void remove(call& made) {
    std::int64_t count = 0;
    for (const std::string_view key : made.arguments.subspan(1)) {
        count += made.server.keys.remove(key, made.now) ? 1 : 0;
    }
    resp::add_integer(made.reply, count);
}

inline void expire(call& made) {
    const auto seconds = resp::parse_integer(made.arguments[2]);
    if (!seconds) {
        return resp::add_error(made.reply, no_integer);
    }
    const auto end = end_in(made.now, *seconds, 1000);
    if (!end) {
        return resp::add_error(made.reply, "ERR invalid expire time in 'expire' command");
    }
    const bool was_there = made.server.keys.set_end(made.arguments[1], *end, made.now);
    resp::add_integer(made.reply, was_there ? 1 : 0);
}

inline void time_to_live(call& made) {
    const store::entry* const found = look_up(made, made.arguments[1]);
    if (found == nullptr || found->end == store::never) {
        return resp::add_integer(made.reply, found == nullptr ? -2 : -1);
    }
    resp::add_integer(made.reply, ((found->end - made.now).count() + 500) / 1000);
}

// --- The connection and the server ---

inline void ping(call& made) {
    if (made.arguments.size() > 2) {
        return resp::add_error(made.reply, "ERR wrong number of arguments for 'ping' command");
    }
    if (made.arguments.size() == 2) {
        return resp::add_bulk(made.reply, made.arguments[1]);
    }
    resp::add_simple(made.reply, "PONG");
}

inline void echo(call& made) {
    resp::add_bulk(made.reply, made.arguments[1]);
}

inline void quit(call& made) {
    made.wants_end = true;
    resp::add_simple(made.reply, "OK");
}

/// Clients ask at their start what commands there are, and live with none.
inline void list_commands(call& made) {
    resp::add_array(made.reply, 0);
}

/// They ask as well how it keeps things on disk: it does not.
inline void configure(call& made) {
    const auto name = made.arguments.size() == 3 ? made.arguments[2] : std::string_view();
    if (!is_word(made.arguments[1], "GET")) {
        return resp::add_error(made.reply, "ERR CONFIG knows GET only");
    }
    const bool is_save = is_word(name, "SAVE");
    if (!is_save && !is_word(name, "APPENDONLY")) {
        return resp::add_array(made.reply, 0);
    }
    resp::add_array(made.reply, 2);
    resp::add_bulk(made.reply, is_save ? "save" : "appendonly");
    resp::add_bulk(made.reply, is_save ? "" : "no");
}

inline std::size_t resident_memory() {
    long pages = 0;
    if (std::FILE* const file = std::fopen("/proc/self/statm", "re")) {
        if (std::fscanf(file, "%*d %ld", &pages) != 1) {
            pages = 0;
        }
        std::fclose(file);
    }
    return static_cast<std::size_t>(pages) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

inline void info(call& made) {
    const state& server = made.server;
    const auto wanted = made.arguments.subspan(1);
    const auto wants = [wanted](std::string_view upper) {
        bool any = wanted.empty();
        for (const std::string_view each : wanted) {
            any = any || is_word(each, upper) || is_word(each, "ALL") || is_word(each, "DEFAULT") ||
                  is_word(each, "EVERYTHING");
        }
        return any;
    };
    std::string text;
    const auto section = [&text](const char* name) {
        text += text.empty() ? "# " : "\r\n# ";
        text += name;
        text += "\r\n";
    };
    const auto line = [&text](const char* name, const std::string& value) {
        text += name;
        text += ':' + value + "\r\n";
    };
    const auto number = [&line](const char* name, std::uint64_t value) {
        line(name, std::to_string(value));
    };
    if (wants("SERVER")) {
        section("Server");
        line("server", "gyre kv_server");
        line("engine", server.engine);
        line("endpoint", server.endpoint);
        number("process_id", static_cast<std::uint64_t>(::getpid()));
        const auto up = std::chrono::duration_cast<std::chrono::seconds>(made.now - server.started);
        number("uptime_in_seconds", static_cast<std::uint64_t>(up.count()));
    }
    if (wants("CLIENTS")) {
        section("Clients");
        number("connected_clients", server.clients);
    }
    if (wants("MEMORY")) {
        section("Memory");
        number("used_memory_rss", resident_memory());
        number("used_memory_dataset", server.keys.bytes());
    }
    if (wants("STATS")) {
        section("Stats");
        number("total_connections_received", server.connections);
        number("total_commands_processed", server.commands);
        number("total_net_input_bytes", server.bytes_in);
        number("total_net_output_bytes", server.bytes_out);
        number("expired_keys", server.keys.expired());
        number("keyspace_hits", server.hits);
        number("keyspace_misses", server.misses);
    }
    if (wants("KEYSPACE")) {
        section("Keyspace");
        if (server.keys.size() != 0) {
            line(
                "db0",
                "keys=" + std::to_string(server.keys.size()) +
                    ",expires=" + std::to_string(server.keys.with_end())
            );
        }
    }
    resp::add_bulk(made.reply, text);
}

// --- All of them ---

struct command {
    std::string_view name;     ///< In capitals.
    std::size_t arguments_min; ///< The name counts.
    std::size_t arguments_max;
    void (*run)(call&);
};

inline constexpr std::size_t any_number = std::numeric_limits<std::size_t>::max();
inline constexpr std::array<command, 14> commands = {{
    {"GET", 2, 2, get},
    {"SET", 3, any_number, set},
    {"DEL", 2, any_number, remove},
    {"INCR", 2, 2, increment},
    {"MGET", 2, any_number, get_many},
    {"MSET", 3, any_number, set_many},
    {"EXPIRE", 3, 3, expire},
    {"TTL", 2, 2, time_to_live},
    {"PING", 1, any_number, ping},
    {"ECHO", 2, 2, echo},
    {"INFO", 1, any_number, info},
    {"QUIT", 1, any_number, quit},
    {"COMMAND", 1, any_number, list_commands},
    {"CONFIG", 3, any_number, configure},
}};

inline void refuse_unknown(call& made) {
    constexpr std::size_t most = 128;
    std::string text = "ERR unknown command '";
    text += made.arguments[0].substr(0, most);
    text += "', with args beginning with: ";
    std::string quoted;
    for (const std::string_view each : made.arguments.subspan(1)) {
        if (quoted.size() >= most) {
            break;
        }
        quoted += '\'';
        quoted += each.substr(0, most - quoted.size() + 1);
        quoted += "' ";
    }
    resp::add_error(made.reply, text + quoted);
}

inline void refuse_count(call& made, std::string_view name) {
    std::string text = "ERR wrong number of arguments for '";
    for (const char each : name) {
        text += static_cast<char>(each + ('a' - 'A'));
    }
    resp::add_error(made.reply, text + "' command");
}

/// Runs a command of one argument or more.
inline void execute(call made) {
    ++made.server.commands;
    const std::size_t count = made.arguments.size();
    for (const command& each : commands) {
        if (is_word(made.arguments[0], each.name)) {
            if (count < each.arguments_min || count > each.arguments_max) {
                return refuse_count(made, each.name);
            }
            return each.run(made);
        }
    }
    refuse_unknown(made);
}

} // namespace samples::kv
