#include <gyre/log.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <ostream> // IWYU pragma: keep (doctest prints through it)
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace {

// What is written to stderr while this lives, through a pipe.
class captured_stderr {
public:
    captured_stderr() : saved_(::dup(STDERR_FILENO)) {
        REQUIRE(::pipe2(ends_.data(), O_CLOEXEC) == 0);
        REQUIRE(::dup2(ends_[1], STDERR_FILENO) >= 0);
    }
    ~captured_stderr() {
        restore();
        ::close(ends_[0]);
    }
    captured_stderr(const captured_stderr&) = delete;
    captured_stderr& operator=(const captured_stderr&) = delete;

    std::string text() {
        restore();
        std::string all;
        std::array<char, 4096> piece{};
        for (;;) {
            const auto count = ::read(ends_[0], piece.data(), piece.size());
            if (count <= 0) {
                return all;
            }
            all.append(piece.data(), static_cast<std::size_t>(count));
        }
    }

private:
    void restore() {
        if (saved_ >= 0) {
            ::dup2(saved_, STDERR_FILENO);
            ::close(saved_);
            ::close(ends_[1]);
            saved_ = -1;
        }
    }
    int saved_;
    std::array<int, 2> ends_{};
};

gyre::log_level last_level = gyre::log_level::info;
std::string last_text;
void keep(gyre::log_level level, std::string_view text) noexcept {
    last_level = level;
    last_text = text;
}

// Puts a hook in place for as long as it lives.
class hooked {
public:
    explicit hooked(gyre::log_hook hook) : before_(gyre::set_log_hook(hook)) {}
    ~hooked() { gyre::set_log_hook(before_); }
    hooked(const hooked&) = delete;
    hooked& operator=(const hooked&) = delete;

private:
    gyre::log_hook before_;
};

} // namespace

TEST_SUITE_BEGIN("log");

TEST_CASE("a line goes to stderr with gyre's name and its level in front") {
    captured_stderr captured;
    gyre::log(gyre::log_level::info, "one");
    gyre::log(gyre::log_level::warning, "two");
    gyre::log(gyre::log_level::error, "");
    CHECK(captured.text() == "gyre: info: one\ngyre: warning: two\ngyre: error: \n");
}

TEST_CASE("a line of any length is written whole, and what looks like a format is text") {
    const std::string length(9000, 'x');
    captured_stderr captured;
    gyre::log(gyre::log_level::warning, "%s %n " + length);
    CHECK(captured.text() == "gyre: warning: %s %n " + length + "\n");
}

TEST_CASE("set_log_hook sends the lines elsewhere and returns the hook before") {
    captured_stderr captured;
    const gyre::log_hook first = gyre::set_log_hook(&keep);
    gyre::log(gyre::log_level::error, "to the hook");
    CHECK(last_text == "to the hook");
    CHECK(last_level == gyre::log_level::error);
    const bool was_ours = gyre::set_log_hook(first) == &keep;
    CHECK(was_ours);
    gyre::log(gyre::log_level::info, "to stderr");
    CHECK(captured.text() == "gyre: info: to stderr\n");
}

TEST_CASE("a hook of nullptr silences the log") {
    captured_stderr captured;
    {
        const hooked silent(nullptr);
        gyre::log(gyre::log_level::error, "nobody hears this");
    }
    CHECK(captured.text().empty());
}

TEST_CASE("logging leaves errno as it was, also when stderr is closed") {
    const int saved = ::dup(STDERR_FILENO);
    REQUIRE(saved >= 0);
    ::close(STDERR_FILENO);
    errno = ENOTTY;
    gyre::log(gyre::log_level::error, "into nothing");
    const int after = errno;
    ::dup2(saved, STDERR_FILENO);
    ::close(saved);
    CHECK(after == ENOTTY);
}

TEST_CASE("lines of several threads stay whole") {
    constexpr int threads = 4;
    constexpr int lines = 100; // All of them fit the pipe.
    captured_stderr captured;
    {
        std::vector<std::thread> all;
        for (int index = 0; index < threads; ++index) {
            all.emplace_back([index] {
                const std::string text(40, static_cast<char>('a' + index));
                for (int line = 0; line < lines; ++line) {
                    gyre::log(gyre::log_level::info, text);
                }
            });
        }
        for (std::thread& each : all) {
            each.join();
        }
    }
    const std::string text = captured.text();
    std::size_t whole = 0;
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = text.find('\n', begin);
        REQUIRE(end != std::string::npos);
        const std::string_view line = std::string_view(text).substr(begin, end - begin);
        const std::string expected = "gyre: info: " + std::string(40, line.back());
        whole += line == expected ? 1U : 0U;
        begin = end + 1;
    }
    CHECK(whole == static_cast<std::size_t>(threads * lines));
}

TEST_SUITE_END();
