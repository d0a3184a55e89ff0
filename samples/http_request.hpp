// http_request.hpp: the head of a request in HTTP/1.1 (RFC 9110, RFC 9112).
#pragma once

#include <gyre/error.hpp>
#include <gyre/io/buffered_reader.hpp>
#include <gyre/result.hpp>
#include <gyre/task/task.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace samples {

struct http_request {
    bool head_only = false;
    bool keep_alive = true;
    std::string path; ///< Decoded, relative, without query; may hold anything but a zero byte.
    std::string range;
    std::string if_range;
    std::optional<std::time_t> if_modified_since;

    std::optional<std::uint64_t> content_length; ///< Of the body that follows.
    std::string transfer_encoding;               ///< Of the body, if it has no length.
    bool expects_continue = false; ///< The body follows when the server has said that it may.
    bool is_http_1_0 = false;
    bool says_close = false;
    int hosts = 0; ///< How many Host headers there were.
};

inline bool is_token(std::string_view text) noexcept {
    constexpr std::string_view others = "!#$%&'*+-.^_`|~";
    return !text.empty() && std::all_of(text.begin(), text.end(), [&](char each) {
        return (each >= '0' && each <= '9') || (each >= 'A' && each <= 'Z') ||
               (each >= 'a' && each <= 'z') || others.find(each) != others.npos;
    });
}

inline bool equals_ignoring_case(std::string_view left, std::string_view right) noexcept {
    const auto lower = [](char each) {
        return each >= 'A' && each <= 'Z' ? static_cast<char>(each + ('a' - 'A')) : each;
    };
    return std::equal(
        left.begin(),
        left.end(),
        right.begin(),
        right.end(),
        [&](char one, char other) { return lower(one) == lower(other); }
    );
}

/// Without the blanks around it.
inline std::string_view trimmed(std::string_view text) noexcept {
    constexpr std::string_view blank = " \t";
    text.remove_prefix(std::min(text.find_first_not_of(blank), text.size()));
    return text.substr(0, text.find_last_not_of(blank) + 1);
}

/// Whether that word is in a list with commas.
inline bool has_word(std::string_view list, std::string_view word) noexcept {
    while (!list.empty()) {
        const std::size_t end = std::min(list.find(','), list.size());
        if (equals_ignoring_case(trimmed(list.substr(0, end)), word)) {
            return true;
        }
        list.remove_prefix(std::min(end + 1, list.size()));
    }
    return false;
}

/// Decodes %HH; nothing if that is malformed or yields a zero byte.
inline std::optional<std::string> percent_decoded(std::string_view text) {
    const auto digit = [](char each) {
        constexpr std::string_view digits = "0123456789abcdef";
        const auto low = each >= 'A' && each <= 'F' ? static_cast<char>(each + 32) : each;
        return digits.find(low);
    };
    std::string decoded;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] != '%') {
            decoded += text[at];
            continue;
        }
        const auto high = at + 2 < text.size() ? digit(text[at + 1]) : std::string_view::npos;
        const auto low = at + 2 < text.size() ? digit(text[at + 2]) : std::string_view::npos;
        if (high == std::string_view::npos || low == std::string_view::npos) {
            return std::nullopt;
        }
        decoded += static_cast<char>(high * 16 + low);
        at += 2;
    }
    return decoded.find('\0') == std::string::npos ? std::optional(decoded) : std::nullopt;
}

/// Nothing for what is no number; what does not fit is as good as the largest one.
inline std::optional<std::uint64_t> parse_digits(std::string_view digits) {
    if (digits.empty() || digits.find_first_not_of("0123456789") != digits.npos) {
        return std::nullopt;
    }
    constexpr auto most = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t value = 0;
    for (const char each : digits) {
        const auto digit = static_cast<std::uint64_t>(each - '0');
        value = value > (most - digit) / 10 ? most : value * 10 + digit;
    }
    return value;
}

inline std::optional<std::time_t> parse_http_date(const std::string& text) {
    std::tm parts{};
    const char* const end = ::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    return end != nullptr && *end == '\0' ? std::optional(::timegm(&parts)) : std::nullopt;
}

inline std::string http_date(std::time_t when) {
    std::tm parts{};
    char text[64];
    ::gmtime_r(&when, &parts);
    return std::string(text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts));
}

/// A part of a file.
struct byte_range {
    std::uint64_t first = 0;
    std::uint64_t length = 0; ///< 0: the range lies beyond the end.
};

/// What `Range: bytes=...` asks of a file of that size; nothing if there is no range in it that this
/// server heeds, in which case the whole file is the answer.
inline std::optional<byte_range> parse_range(std::string_view text, std::uint64_t size) {
    constexpr std::string_view unit = "bytes=";
    if (text.substr(0, unit.size()) != unit) {
        return std::nullopt;
    }
    text.remove_prefix(unit.size());
    const std::size_t dash = text.find('-');
    if (dash == text.npos) {
        return std::nullopt;
    }
    const auto first = parse_digits(text.substr(0, dash));
    const auto last = parse_digits(text.substr(dash + 1));
    if (dash == 0) { // The last bytes.
        if (!last) {
            return std::nullopt;
        }
        const std::uint64_t length = std::min(*last, size);
        return byte_range{size - length, length};
    }
    if (!first || (!last && dash + 1 != text.size()) || (last && *last < *first)) {
        return std::nullopt;
    }
    if (*first >= size) {
        return byte_range{};
    }
    return byte_range{*first, std::min(last.value_or(size - 1), size - 1) - *first + 1};
}

/// Takes in the request line; the status of the refusal, or 0.
inline int parse_request_line(std::string_view line, http_request& into) {
    const std::size_t first = line.find(' ');
    const std::size_t second = line.rfind(' ');
    if (first == line.npos || first == second || !is_token(line.substr(0, first))) {
        return 400;
    }
    const std::string_view method = line.substr(0, first);
    const std::string_view version = line.substr(second + 1);
    std::string_view target = line.substr(first + 1, second - first - 1);
    const bool printable = std::all_of(target.begin(), target.end(), [](char each) {
        return each > ' ' && each != '\x7f';
    });
    if (version.substr(0, 5) != "HTTP/" || !printable) {
        return 400;
    }
    if (version != "HTTP/1.1" && version != "HTTP/1.0") {
        return 505;
    }
    if (method != "GET" && method != "HEAD") {
        return 405;
    }
    into.head_only = method == "HEAD";
    into.keep_alive = version == "HTTP/1.1";
    into.is_http_1_0 = version == "HTTP/1.0";
    constexpr std::string_view scheme = "http://";
    if (target.substr(0, scheme.size()) == scheme) { // As to a proxy.
        const std::size_t slash = target.find('/', scheme.size());
        target = slash == target.npos ? "/" : target.substr(slash);
    }
    if (target.empty() || target[0] != '/') {
        return 400;
    }
    const auto path = percent_decoded(target.substr(0, target.find_first_of("?#")));
    if (!path) {
        return 400;
    }
    const std::size_t start = path->find_first_not_of('/');
    into.path = start == path->npos ? "" : path->substr(start);
    return 0;
}

/// Takes in one header line; the status of the refusal, or 0.
inline int parse_header(std::string_view line, http_request& into) {
    const std::size_t colon = line.find(':');
    if (colon == line.npos || !is_token(line.substr(0, colon))) {
        return 400;
    }
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (value.find('\r') != value.npos || value.find('\0') != value.npos) {
        return 400; // Others might see the end of a line there.
    }
    if (equals_ignoring_case(name, "Host")) {
        ++into.hosts;
    } else if (equals_ignoring_case(name, "Connection")) {
        into.says_close = into.says_close || has_word(value, "close");
        into.keep_alive = !into.says_close && (into.keep_alive || has_word(value, "keep-alive"));
    } else if (equals_ignoring_case(name, "Range")) {
        into.range = value;
    } else if (equals_ignoring_case(name, "If-Range")) {
        into.if_range = value;
    } else if (equals_ignoring_case(name, "If-Modified-Since")) {
        into.if_modified_since = parse_http_date(std::string(value));
    } else if (equals_ignoring_case(name, "Content-Length")) {
        const auto length = parse_digits(value);
        if (!length || into.content_length) {
            return 400; // Where the body ends must not be a matter of who reads it.
        }
        into.content_length = length;
    } else if (equals_ignoring_case(name, "Transfer-Encoding")) {
        if (value.empty() || !into.transfer_encoding.empty()) {
            return 400;
        }
        into.transfer_encoding = value;
    } else if (equals_ignoring_case(name, "Expect")) {
        into.expects_continue = equals_ignoring_case(value, "100-continue");
    }
    return 0;
}

/// What there is to say of the head as a whole; the status of the refusal, or 0.
inline int check_request(const http_request& head) {
    const bool has_encoding = !head.transfer_encoding.empty();
    if (head.hosts > 1 || (head.hosts == 0 && !head.is_http_1_0)) {
        return 400;
    }
    // Two ways to say where the body ends, or one that HTTP/1.0 does not know: somebody between the
    // client and here may have taken the other one (RFC 9112, section 6.1).
    return has_encoding && (head.content_length || head.is_http_1_0) ? 400 : 0;
}

/// Reads the head of a request.
///
/// \return  0, or the status of the answer that refuses it: 400, 405, 414, 431, 505. An error if
///          the connection ends.
template <class Stream>
gyre::task<gyre::result<int>>
read_request(gyre::buffered_reader<Stream>& from, http_request& into) {
    constexpr std::size_t line_max = 4096;
    constexpr int lines_max = 64;
    const auto first = co_await from.read_line(line_max);
    if (!first) {
        if (first.error() == gyre::errno_code(EMSGSIZE)) {
            co_return 414;
        }
        co_return first.error();
    }
    const int refused = parse_request_line(*first, into);
    if (refused != 0) {
        co_return refused;
    }
    for (int count = 0; count < lines_max; ++count) {
        const auto line = co_await from.read_line(line_max);
        if (!line) {
            if (line.error() == gyre::errno_code(EMSGSIZE)) {
                co_return 431;
            }
            co_return line.error();
        }
        if (line->empty()) {
            // A body is refused: nothing here would read it.
            const bool has_body = into.content_length.value_or(0) != 0;
            co_return has_body || !into.transfer_encoding.empty() ? 400 : check_request(into);
        }
        const int status = parse_header(*line, into);
        if (status != 0) {
            co_return status;
        }
    }
    co_return 431;
}

} // namespace samples
