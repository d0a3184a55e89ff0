// dns_message.hpp: the answer to a DNS query (RFC 1035, EDNS by RFC 6891) from a table of hosts.
#pragma once

#include <gyre/net/endpoint.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace samples::dns {

/// Names and their addresses, as a hosts file has them.
class host_table {
public:
    /// What hosts(5) says: lines of "ADDRESS NAME...", and comments after a '#'. A name or an
    /// address that is none is left out.
    static host_table parse(std::string_view text) {
        host_table made;
        while (!text.empty()) {
            const std::size_t end = std::min(text.find('\n'), text.size());
            made.add_line(text.substr(0, text.find_first_of("#\n")));
            text.remove_prefix(std::min(end + 1, text.size()));
        }
        return made;
    }

    /// The addresses of a name, which is given as it travels, in lower case; nothing if it is
    /// unknown.
    const std::vector<gyre::endpoint>* find(std::string_view wire_name) const {
        const auto found = names_.find(wire_name);
        return found != names_.end() ? &found->second : nullptr;
    }
    std::size_t size() const noexcept { return names_.size(); }

private:
    static std::string_view next_word(std::string_view& line) {
        constexpr std::string_view blanks = " \t\r";
        line.remove_prefix(std::min(line.find_first_not_of(blanks), line.size()));
        const std::string_view word = line.substr(0, line.find_first_of(blanks));
        line.remove_prefix(word.size());
        return word;
    }
    void add_line(std::string_view line) {
        const std::string word(next_word(line));
        auto address = gyre::endpoint::parse(word + ":0");
        if (!address) {
            address = gyre::endpoint::parse("[" + word + "]:0");
        }
        if (!address || address->address().empty()) {
            return;
        }
        for (auto name = next_word(line); !name.empty(); name = next_word(line)) {
            if (const auto key = to_wire(name)) {
                auto& known = names_[*key];
                if (std::find(known.begin(), known.end(), *address) == known.end()) {
                    known.push_back(*address);
                }
            }
        }
    }
    // "Mail.Example" becomes "\4mail\7example\0".
    static std::optional<std::string> to_wire(std::string_view name) {
        if (name.ends_with('.')) {
            name.remove_suffix(1);
        }
        std::string wire;
        while (!name.empty()) {
            const std::string_view label = name.substr(0, name.find('.'));
            if (label.empty() || label.size() > 63) {
                return std::nullopt;
            }
            wire += static_cast<char>(label.size());
            for (const char letter : label) {
                wire += letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter;
            }
            name.remove_prefix(std::min(label.size() + 1, name.size()));
        }
        wire += '\0';
        return wire.size() > 1 && wire.size() <= 255 ? std::optional(wire) : std::nullopt;
    }

    std::map<std::string, std::vector<gyre::endpoint>, std::less<>> names_;
};

/// What a query says that an answer depends on.
struct query {
    std::uint16_t id = 0;
    std::uint16_t flags = 0;
    std::string name; ///< As it travels, in lower case.
    std::uint16_t type = 0;
    std::uint16_t net_class = 0;
    std::size_t question_end = 0; ///< Where in the message the question ends.
    bool has_edns = false;
    std::uint8_t edns_version = 0;
    std::size_t size_max = 512; ///< Of a reply that the client takes.
};

namespace detail {

constexpr std::size_t header_size = 12;
constexpr std::size_t edns_size = 11;

/// Walks over a message. Past the end everything is 0 and `good` is false.
class reader {
public:
    explicit reader(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}

    std::uint8_t byte() noexcept {
        if (place_ >= bytes_.size()) {
            good_ = false;
            return 0;
        }
        return std::to_integer<std::uint8_t>(bytes_[place_++]);
    }
    std::uint16_t word() noexcept {
        const unsigned high = byte();
        return static_cast<std::uint16_t>(high << 8 | byte());
    }
    void skip(std::size_t count) noexcept {
        good_ = good_ && count <= bytes_.size() - place_;
        place_ = good_ ? place_ + count : bytes_.size();
    }
    /// A name without pointers, which a question has no use for, in lower case.
    std::string name() {
        std::string wire;
        for (;;) {
            const std::uint8_t length = byte();
            if (!good_ || length > 63 || wire.size() + length + 1 > 255) {
                good_ = false;
                return {};
            }
            wire += static_cast<char>(length);
            if (length == 0) {
                return wire;
            }
            for (int count = 0; count < length; ++count) {
                const std::uint8_t letter = byte();
                const bool is_upper = letter >= 'A' && letter <= 'Z';
                wire += static_cast<char>(is_upper ? letter + 32 : letter);
            }
        }
    }
    void skip_name() noexcept {
        for (std::uint8_t length = byte(); good_ && length != 0; length = byte()) {
            if (length >= 0xc0) { // A pointer ends the name.
                byte();
                return;
            }
            good_ = good_ && length <= 63;
            skip(length);
        }
    }
    bool good() const noexcept { return good_; }
    std::size_t place() const noexcept { return place_; }
    bool at_end() const noexcept { return place_ == bytes_.size(); }

private:
    std::span<const std::byte> bytes_;
    std::size_t place_ = 0;
    bool good_ = true;
};

/// Fills a reply. What does not fit is left out whole.
class writer {
public:
    explicit writer(std::span<std::byte> bytes) noexcept : bytes_(bytes) {}

    bool has_room(std::size_t count) const noexcept { return count <= bytes_.size() - place_; }
    void byte(unsigned value) noexcept { bytes_[place_++] = static_cast<std::byte>(value & 0xff); }
    void word(unsigned value) noexcept {
        byte(value >> 8);
        byte(value);
    }
    void copy(std::span<const std::byte> bytes) noexcept {
        std::copy(bytes.begin(), bytes.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(place_));
        place_ += bytes.size();
    }
    void set_word(std::size_t place, unsigned value) noexcept {
        bytes_[place] = static_cast<std::byte>(value >> 8 & 0xff);
        bytes_[place + 1] = static_cast<std::byte>(value & 0xff);
    }
    std::size_t size() const noexcept { return place_; }

private:
    std::span<std::byte> bytes_;
    std::size_t place_ = 0;
};

enum response : unsigned {
    no_error = 0,
    format_error = 1,
    name_error = 3,
    not_implemented = 4,
    refused = 5,
    bad_version = 16,
};

enum record_type : unsigned {
    type_a = 1,
    type_aaaa = 28,
    type_opt = 41,
    type_ixfr = 251,
    any = 255
};

/// Reads what follows the header; false if it is malformed.
inline bool read(std::span<const std::byte> message, query& asked) {
    reader from(message);
    from.skip(4);
    const std::uint16_t questions = from.word();
    const std::size_t others = std::size_t{from.word()} + from.word(); // Answers, authorities.
    const std::size_t additionals = from.word();
    if (questions != 1) {
        return false;
    }
    asked.name = from.name();
    asked.type = from.word();
    asked.net_class = from.word();
    if (!from.good()) {
        return false;
    }
    asked.question_end = from.place();
    for (std::size_t record = 0; from.good() && record < others + additionals; ++record) {
        const std::size_t start = from.place();
        from.skip_name();
        const bool is_root = from.place() == start + 1;
        const std::uint16_t type = from.word();
        const std::uint16_t net_class = from.word();
        from.byte(); // The extended response code.
        const std::uint8_t version = from.byte();
        from.word();
        from.skip(from.word());
        if (type == type_opt) {
            if (!is_root || asked.has_edns || record < others) {
                return false;
            }
            asked.has_edns = true;
            asked.edns_version = version;
            asked.size_max = std::max<std::size_t>(net_class, 512);
        }
    }
    return from.good() && from.at_end() && asked.type != type_opt;
}

} // namespace detail

/// Writes the reply to `message` into `reply`, which holds 512 bytes at least. Works on any bytes.
///
/// \return  the size of the reply in bytes; 0 if there is to be none, since it is no query.
inline std::size_t
answer(const host_table& hosts, std::span<const std::byte> message, std::span<std::byte> reply) {
    using namespace detail;
    if (message.size() < header_size) {
        return 0;
    }
    reader header(message);
    query asked;
    asked.id = header.word();
    asked.flags = header.word();
    if ((asked.flags & 0x8000) != 0) {
        return 0; // An answer: to answer it might go on for ever.
    }
    unsigned code = no_error;
    const std::vector<gyre::endpoint>* addresses = nullptr;
    if ((asked.flags & 0x7800) != 0) {
        code = not_implemented; // Another operation than to query.
    } else if (!read(message, asked)) {
        code = format_error;
    } else if (asked.edns_version != 0) {
        code = bad_version;
    } else if ((asked.net_class != 1 && asked.net_class != any) ||
               (asked.type >= type_ixfr && asked.type < any)) {
        code = refused; // Another network, or a transfer of a zone.
    } else {
        addresses = hosts.find(asked.name);
        code = addresses != nullptr ? no_error : name_error;
    }

    writer out(reply.first(std::min(reply.size(), asked.size_max)));
    // Authoritative; the operation and the wish for recursion, which there is not, as they came.
    unsigned flags = 0x8400U | (asked.flags & 0x7900U) | (code & 0xfU);
    const bool has_question = asked.question_end != 0 && code != format_error;
    out.word(asked.id);
    out.word(flags);
    out.word(has_question ? 1 : 0);
    for (int section = 0; section < 3; ++section) {
        out.word(0);
    }
    if (has_question) {
        out.copy(message.subspan(header_size, asked.question_end - header_size));
    }
    unsigned count = 0;
    const std::size_t reserved = asked.has_edns ? edns_size : 0;
    for (std::size_t index = 0; addresses != nullptr && index < addresses->size(); ++index) {
        const auto bytes = (*addresses)[index].address();
        const unsigned type = bytes.size() == 4 ? type_a : type_aaaa;
        if (asked.type != type && asked.type != any) {
            continue;
        }
        if (!out.has_room(12 + bytes.size() + reserved)) {
            flags |= 0x0200U; // Truncated.
            break;
        }
        out.word(0xc000U | header_size); // The name is that of the question.
        out.word(type);
        out.word(1);
        out.word(0);
        out.word(60); // Seconds that it may be remembered for.
        out.word(static_cast<unsigned>(bytes.size()));
        out.copy(std::as_bytes(bytes));
        ++count;
    }
    out.set_word(2, flags);
    out.set_word(6, count);
    if (asked.has_edns && code != format_error) {
        out.byte(0);
        out.word(type_opt);
        out.word(static_cast<unsigned>(std::min<std::size_t>(reply.size(), 65535)));
        out.byte(code >> 4); // The rest of the response code.
        out.byte(0);         // Version.
        out.word(0);
        out.word(0);
        out.set_word(10, 1);
    }
    return out.size();
}

} // namespace samples::dns
