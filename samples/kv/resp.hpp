// resp.hpp: the Redis serialization protocol, version 2: commands as they come, replies as they go.
#pragma once

#include "../input.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace samples::resp {

/// What a client may ask of the server's memory.
struct limits {
    std::size_t bulk_max = std::size_t{64} << 20U;     ///< Bytes of one argument.
    std::size_t command_max = std::size_t{128} << 20U; ///< Of one command, lengths included.
    std::size_t arguments_max = 65536;                 ///< Of one command, its name included.
    std::size_t line_max = 65536;                      ///< Bytes of an inline command, or a length.
};

/// A decimal number as Redis reads one: a minus at most before it, no blanks and no zero in front.
inline std::optional<std::int64_t> parse_integer(std::string_view text) noexcept {
    const std::string_view digits = text.substr(text.starts_with('-') ? 1 : 0);
    if (digits.empty() || (digits[0] == '0' && text.size() > 1)) {
        return std::nullopt;
    }
    std::int64_t value = 0;
    const char* const begin = text.data();
    const char* const end = begin + text.size();
    const auto parsed = std::from_chars(begin, end, value);
    return parsed.ec == std::errc() && parsed.ptr == end ? std::optional(value) : std::nullopt;
}

/// Cuts an inline command at its blanks, as a shell would: "..." knows \n, \r, \t, \b, \a, \xHH and
/// takes any other character after a backslash for itself, '...' knows \'. What the arguments are
/// goes into `text`, one behind the other, and where each ends into `ends`.
///
/// \return  false if a quote is not closed, or is followed by something else than a blank.
bool split_inline(std::string_view line, std::string& text, std::vector<std::size_t>& ends);

/// Takes commands out of what comes: arrays of bulk strings, or lines as a person types them.
///
/// After `feed`, `next` is called until it says something else than `outcome::command`. What it
/// makes of a conversation does not depend on the pieces that it comes in.
class parser {
public:
    enum class outcome {
        command, ///< `arguments` has it.
        more,    ///< The rest has not come yet; the chunk may go.
        error,   ///< `error` says why. Where the next command begins is not known: nothing follows.
    };

    explicit parser(const limits& chosen = {}) noexcept : limits_(chosen) {}

    /// Adds what came. The chunk stays where it is until `next` wants more.
    void feed(std::string_view chunk) { input_.add(chunk); }

    outcome next() {
        if (is_complete_) {
            start_over();
        }
        while (error_.empty()) {
            switch (step()) {
            case progress::complete:
                is_complete_ = true;
                refer();
                return outcome::command;
            case progress::nothing:
                start_over(); // An empty command, which has no answer.
                break;
            case progress::none:
                if (error_.empty()) {
                    input_.keep();
                    return outcome::more;
                }
                break;
            case progress::some:
                break;
            }
        }
        return outcome::error;
    }

    /// The command: one argument or more, the name first. Valid until the next call.
    std::span<const std::string_view> arguments() const noexcept { return arguments_; }

    /// As it is to be answered, without the "-ERR " in front.
    const std::string& error() const noexcept { return error_; }

private:
    enum class progress { none, some, nothing, complete };
    struct piece {
        std::size_t begin;
        std::size_t size;
    };

    void start_over() {
        input_.drop(at_);
        at_ = 0;
        searched_ = 0;
        left_ = 0;
        bulk_.reset();
        is_complete_ = false;
        constexpr std::size_t usual_count = 1024;
        if (pieces_.capacity() > usual_count) {
            pieces_ = {};
            arguments_ = {};
        }
        pieces_.clear();
        inline_text_.clear();
        inline_ends_.clear();
    }

    progress step() {
        if (bulk_) {
            return take_bulk(*bulk_);
        }
        if (left_ != 0) {
            return take_bulk_size();
        }
        if (input_.text().empty()) {
            return progress::none;
        }
        return input_.text()[0] == '*' ? take_count() : take_inline();
    }

    progress fail(std::string_view why) {
        error_ = "Protocol error: ";
        error_ += why;
        return progress::none;
    }

    // A line without its LF. Nothing if it has not come, or is too long.
    std::optional<std::string_view> take_line(std::string_view too_long) {
        const std::string_view text = input_.text();
        const std::size_t end = text.find('\n', std::max(at_, searched_));
        const std::size_t size = std::min(end, text.size()) - at_;
        if (size > limits_.line_max) {
            fail(too_long);
            return std::nullopt;
        }
        if (end == text.npos) {
            searched_ = text.size();
            return std::nullopt;
        }
        const std::string_view line = text.substr(at_, size);
        at_ = end + 1;
        return line;
    }

    // The number in a line "*NUMBER CR" or "$NUMBER CR".
    static std::optional<std::int64_t> number_in(std::string_view line) {
        return line.ends_with('\r') ? parse_integer(line.substr(1, line.size() - 2)) : std::nullopt;
    }

    progress take_count() {
        const auto line = take_line("too big mbulk count string");
        if (!line) {
            return progress::none;
        }
        const auto count = number_in(*line);
        if (!count || *count > static_cast<std::int64_t>(limits_.arguments_max)) {
            return fail("invalid multibulk length");
        }
        left_ = *count > 0 ? static_cast<std::size_t>(*count) : 0;
        return left_ == 0 ? progress::nothing : progress::some;
    }

    progress take_bulk_size() {
        const auto line = take_line("too big bulk count string");
        if (!line) {
            return progress::none;
        }
        if (!line->starts_with('$')) {
            const char wrong = line->empty() ? '\n' : line->front();
            return fail(std::string("expected '$', got '") + wrong + '\'');
        }
        const auto size = number_in(*line);
        if (!size || *size < 0 || *size > static_cast<std::int64_t>(limits_.bulk_max)) {
            return fail("invalid bulk length");
        }
        bulk_ = static_cast<std::size_t>(*size);
        return at_ + *bulk_ > limits_.command_max ? fail("too big command") : progress::some;
    }

    progress take_bulk(std::size_t size) {
        const std::string_view behind = input_.text().substr(at_);
        if (behind.size() < size + 2) {
            return progress::none;
        }
        if (behind.substr(size, 2) != "\r\n") {
            return fail("expected CR LF after a bulk string");
        }
        pieces_.push_back({at_, size});
        at_ += size + 2;
        bulk_.reset();
        return --left_ == 0 ? progress::complete : progress::some;
    }

    progress take_inline() {
        auto line = take_line("too big inline request");
        if (!line) {
            return progress::none;
        }
        if (line->ends_with('\r')) {
            line->remove_suffix(1);
        }
        if (!split_inline(*line, inline_text_, inline_ends_)) {
            return fail("unbalanced quotes in request");
        }
        return inline_ends_.empty() ? progress::nothing : progress::complete;
    }

    // What was counted in positions as long as it could still move.
    void refer() {
        arguments_.clear();
        for (const piece& each : pieces_) {
            arguments_.push_back(input_.text().substr(each.begin, each.size));
        }
        std::size_t begin = 0;
        for (const std::size_t end : inline_ends_) {
            arguments_.push_back(std::string_view(inline_text_).substr(begin, end - begin));
            begin = end;
        }
    }

    limits limits_;
    input input_;                     // From the beginning of the command on.
    std::size_t at_ = 0;              // Up to here it is read...
    std::size_t searched_ = 0;        // ...and up to here there is no LF behind that.
    std::size_t left_ = 0;            // Bulk strings that are to follow...
    std::optional<std::size_t> bulk_; // ...and the size of the next one, once it is known.
    bool is_complete_ = false;
    std::vector<piece> pieces_;
    std::string inline_text_;
    std::vector<std::size_t> inline_ends_;
    std::vector<std::string_view> arguments_;
    std::string error_;
};

inline bool split_inline(std::string_view line, std::string& text, std::vector<std::size_t>& ends) {
    constexpr std::string_view blanks(" \n\r\t\v\f\0", 7);
    const auto digit = [](char each) {
        const char low = each >= 'A' && each <= 'F' ? static_cast<char>(each + 32) : each;
        return std::string_view("0123456789abcdef").find(low);
    };
    for (std::size_t at = 0;;) {
        at = line.find_first_not_of(blanks, at);
        if (at == line.npos) {
            return true;
        }
        char quote = 0;
        for (; at < line.size(); ++at) {
            const char each = line[at];
            const char following = at + 1 < line.size() ? line[at + 1] : '\0';
            if (quote == 0) {
                if (blanks.find(each) != blanks.npos) {
                    break;
                }
                if (each == '"' || each == '\'') {
                    quote = each;
                } else {
                    text += each;
                }
            } else if (each == quote) {
                if (at + 1 < line.size() && blanks.find(following) == blanks.npos) {
                    return false;
                }
                quote = 0;
            } else if (each == '\\' && quote == '"' && at + 1 < line.size()) {
                const bool is_hex = following == 'x' && at + 3 < line.size() &&
                                    digit(line[at + 2]) < 16 && digit(line[at + 3]) < 16;
                if (is_hex) {
                    text += static_cast<char>(digit(line[at + 2]) * 16 + digit(line[at + 3]));
                    at += 3;
                } else {
                    constexpr std::string_view names = "nrtba";
                    const std::size_t known = names.find(following);
                    text += known == names.npos ? following : "\n\r\t\b\a"[known];
                    ++at;
                }
            } else if (each == '\\' && quote == '\'' && following == '\'') {
                text += '\'';
                ++at;
            } else {
                text += each;
            }
        }
        if (quote != 0) {
            return false;
        }
        ends.push_back(text.size());
    }
}

// --- Replies, appended to what goes out ---

inline void add_simple(std::string& to, std::string_view text) {
    to += '+';
    to += text;
    to += "\r\n";
}

/// Line ends within the text, which may quote a client, become blanks.
inline void add_error(std::string& to, std::string_view text) {
    to += '-';
    const std::size_t begin = to.size();
    to += text;
    const auto is_line_end = [](char each) { return each == '\r' || each == '\n'; };
    std::replace_if(to.begin() + static_cast<std::ptrdiff_t>(begin), to.end(), is_line_end, ' ');
    to += "\r\n";
}

namespace detail {

inline void add_number(std::string& to, char kind, std::int64_t value) {
    char text[24] = {kind};
    char* const end = std::to_chars(text + 1, text + sizeof text, value).ptr;
    to.append(text, end);
    to += "\r\n";
}

} // namespace detail

inline void add_integer(std::string& to, std::int64_t value) {
    detail::add_number(to, ':', value);
}

inline void add_bulk(std::string& to, std::string_view bytes) {
    detail::add_number(to, '$', static_cast<std::int64_t>(bytes.size()));
    to += bytes;
    to += "\r\n";
}

inline void add_null(std::string& to) {
    to += "$-1\r\n";
}

/// That many replies follow, which are its elements.
inline void add_array(std::string& to, std::size_t count) {
    detail::add_number(to, '*', static_cast<std::int64_t>(count));
}

} // namespace samples::resp
