// input.hpp: what has come in pieces and was not taken by a parser yet.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace samples {

/// The bytes between a connection, which brings them in pieces of any size, and a parser, which
/// takes them in pieces of its own. As long as it takes whole pieces, nothing is copied.
class input {
public:
    /// Adds what came. The chunk stays where it is until `keep`.
    void add(std::string_view chunk) {
        if (kept_.empty()) {
            text_ = chunk;
        } else {
            kept_ += chunk;
            text_ = kept_;
        }
    }

    std::string_view text() const noexcept { return text_; }
    void drop(std::size_t count) noexcept { text_.remove_prefix(count); }

    /// Copies what is left, so that the chunk may go. Memory that an unusual request took is given
    /// back.
    void keep() {
        if (!kept_.empty()) {
            kept_.erase(0, kept_.size() - text_.size());
        } else {
            kept_ = text_;
        }
        if (kept_.empty() && kept_.capacity() > usual_size) {
            kept_ = std::string();
        }
        text_ = kept_;
    }

private:
    static constexpr std::size_t usual_size = 65536;

    std::string kept_; // With what was dropped since `keep` at its beginning.
    std::string_view text_;
};

} // namespace samples
