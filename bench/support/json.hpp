// JSON as far as the benchmarks write it and read it again: what one of them has measured.
#pragma once

#include <array>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench::json {

// --- Writing: each makes the text of one value ---

inline std::string string_literal(std::string_view text) {
    std::string safe = "\"";
    for (char letter : text) {
        if (letter == '"' || letter == '\\') {
            safe += '\\';
        }
        if (static_cast<unsigned char>(letter) >= ' ') {
            safe += letter;
        }
    }
    return safe + "\"";
}

/// Six digits; null for what is no number.
inline std::string plain(double value) {
    std::array<char, 32> text = {};
    std::snprintf(text.data(), text.size(), "%.6g", value);
    return value == value ? text.data() : "null";
}

inline std::string list(const std::vector<double>& values) {
    std::string text;
    for (double value : values) {
        text += (text.empty() ? "" : ",") + plain(value);
    }
    return "[" + text + "]";
}

// --- Reading ---

/// A value that was read. Asked for something it is not, it throws std::runtime_error.
class value {
public:
    using member = std::pair<std::string, value>;

    static value parse(std::string_view text) {
        reader in{text};
        value whole = in.any();
        in.skip_blanks();
        if (!in.rest.empty()) {
            throw std::runtime_error("JSON: something follows the end");
        }
        return whole;
    }

    [[nodiscard]] const value& operator[](std::string_view name) const {
        for (const member& each : members_) {
            if (each.first == name) {
                return each.second;
            }
        }
        throw std::runtime_error("JSON: there is no \"" + std::string(name) + "\"");
    }

    [[nodiscard]] const std::vector<value>& items() const {
        expect(kind::array, "an array");
        return items_;
    }

    [[nodiscard]] const std::string& text() const {
        expect(kind::string, "a string");
        return text_;
    }

    /// Not a number for null, as `plain` writes it.
    [[nodiscard]] double number() const {
        if (kind_ == kind::null) {
            return std::numeric_limits<double>::quiet_NaN();
        }
        expect(kind::number, "a number");
        return number_;
    }

    [[nodiscard]] std::vector<double> numbers() const {
        std::vector<double> all;
        for (const value& each : items()) {
            all.push_back(each.number());
        }
        return all;
    }

private:
    enum class kind { null, number, string, array, object };

    struct reader {
        std::string_view rest;

        void skip_blanks() {
            while (!rest.empty() && std::isspace(static_cast<unsigned char>(rest.front())) != 0) {
                rest.remove_prefix(1);
            }
        }

        bool take(std::string_view mark) {
            skip_blanks();
            if (rest.substr(0, mark.size()) != mark) {
                return false;
            }
            rest.remove_prefix(mark.size());
            return true;
        }

        void need(std::string_view mark) {
            if (!take(mark)) {
                throw std::runtime_error(
                    "JSON: \"" + std::string(mark) + "\" is missing before \"" +
                    std::string(rest.substr(0, 20)) + "\""
                );
            }
        }

        value any() {
            value made;
            if (take("null")) {
                return made;
            }
            if (take("{")) {
                made.kind_ = kind::object;
                while (!take("}")) {
                    if (!made.members_.empty()) {
                        need(",");
                    }
                    std::string name = string();
                    need(":");
                    made.members_.emplace_back(std::move(name), any());
                }
            } else if (take("[")) {
                made.kind_ = kind::array;
                while (!take("]")) {
                    if (!made.items_.empty()) {
                        need(",");
                    }
                    made.items_.push_back(any());
                }
            } else if (!rest.empty() && rest.front() == '"') {
                made.kind_ = kind::string;
                made.text_ = string();
            } else {
                made.kind_ = kind::number;
                made.number_ = number();
            }
            return made;
        }

        std::string string() {
            need("\"");
            std::string text;
            while (!rest.empty() && rest.front() != '"') {
                if (rest.front() == '\\') {
                    rest.remove_prefix(1);
                }
                text += rest.substr(0, 1);
                rest.remove_prefix(rest.empty() ? 0 : 1);
            }
            need("\"");
            return text;
        }

        double number() {
            std::string digits(rest.substr(0, rest.find_first_not_of("+-.0123456789eE")));
            char* end = nullptr;
            double parsed = std::strtod(digits.c_str(), &end);
            if (digits.empty() || *end != '\0') {
                throw std::runtime_error(
                    "JSON: no value starts with \"" + std::string(rest.substr(0, 20)) + "\""
                );
            }
            rest.remove_prefix(digits.size());
            return parsed;
        }
    };

    void expect(kind wanted, const char* name) const {
        if (kind_ != wanted) {
            throw std::runtime_error(std::string("JSON: a value is not ") + name);
        }
    }

    kind kind_ = kind::null;
    double number_ = 0;
    std::string text_;
    std::vector<value> items_;
    std::vector<member> members_;
};

} // namespace bench::json
