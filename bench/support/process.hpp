// The programs a benchmark starts: servers that announce where they listen, and commands that are
// waited for. Everything is bounded in time, and nothing outlives the benchmark.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

using command = std::vector<std::string>;

/// Cuts a command line at its blanks. There is no quoting.
inline command split(std::string_view line) {
    command words;
    while (!line.empty()) {
        std::size_t end = std::min(line.find(' '), line.size());
        if (end > 0) {
            words.emplace_back(line.substr(0, end));
        }
        line.remove_prefix(std::min(end + 1, line.size()));
    }
    return words;
}

/// A command with more words behind it.
inline command extended(command first, const command& second) {
    first.insert(first.end(), second.begin(), second.end());
    return first;
}

/// What follows the last slash: messages name a program, not where it lies.
inline std::string base_name(const std::string& path) {
    return path.substr(path.rfind('/') + 1);
}

/// A running program whose standard output is read here. Killed when it is destroyed.
class process {
public:
    using clock = std::chrono::steady_clock;

    /// Where the program's standard error goes: to that of the benchmark, or to `errors()`.
    enum class errors_to { benchmark, here };

    /// Starts a program, on one processor if one is named.
    explicit process(
        const command& line,
        std::optional<int> cpu = std::nullopt,
        errors_to where = errors_to::benchmark
    )
        : name_(base_name(line.at(0))) {
        std::array<int, 2> ends = {};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
            throw std::runtime_error(std::string("pipe: ") + std::strerror(errno));
        }
        if (where == errors_to::here) {
            errors_ = ::memfd_create("errors", MFD_CLOEXEC);
        }
        std::vector<char*> arguments;
        for (const std::string& word : line) {
            arguments.push_back(const_cast<char*>(word.c_str()));
        }
        arguments.push_back(nullptr);
        pid_ = ::fork();
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            ::dup2(ends[1], STDOUT_FILENO);
            if (errors_ >= 0) {
                ::dup2(errors_, STDERR_FILENO);
            }
            if (cpu) {
                cpu_set_t set;
                CPU_ZERO(&set);
                CPU_SET(static_cast<unsigned>(*cpu), &set);
                ::sched_setaffinity(0, sizeof set, &set);
            }
            ::execvp(arguments[0], arguments.data());
            std::fprintf(stderr, "%s: %s\n", arguments[0], std::strerror(errno));
            ::_exit(127);
        }
        ::close(ends[1]);
        output_ = ends[0];
        if (pid_ < 0) {
            ::close(output_);
            close_errors();
            throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
        }
    }

    process(const process&) = delete;
    process& operator=(const process&) = delete;

    ~process() {
        if (!exit_code_) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
        ::close(output_);
        close_errors();
    }

    /// Reads one line, without its end. Throws when the time or the output ends first.
    std::string read_line(std::chrono::seconds limit) {
        auto deadline = clock::now() + limit;
        for (;;) {
            std::size_t end = text_.find('\n');
            if (end != std::string::npos) {
                std::string line = text_.substr(0, end);
                text_.erase(0, end + 1);
                return line;
            }
            if (!read_some(deadline)) {
                throw std::runtime_error(name_ + ": ended before it printed a line");
            }
        }
    }

    /// Waits for the end of the program and returns what it has printed.
    std::string finish(std::chrono::seconds limit) {
        auto deadline = clock::now() + limit;
        while (read_some(deadline)) {
        }
        // Its output is closed, so it is about to end; a program that closed it early is polled.
        int status = 0;
        while (::wait4(pid_, &status, WNOHANG, &usage_) == 0) {
            if (clock::now() > deadline) {
                throw std::runtime_error(name_ + ": has not ended in time");
            }
            timespec moment = {.tv_sec = 0, .tv_nsec = 200'000};
            ::nanosleep(&moment, nullptr);
        }
        exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return std::exchange(text_, {});
    }

    void terminate() const { ::kill(pid_, SIGTERM); }

    [[nodiscard]] pid_t id() const noexcept { return pid_; }
    // NOLINTNEXTLINE(bugprone-unchecked-optional-access): before `finish` it is meant to throw.
    [[nodiscard]] int exit_code() const { return exit_code_.value(); }

    /// What the program used in all; known after `finish`.
    [[nodiscard]] const rusage& resources() const noexcept { return usage_; }

    /// What the program has written to its standard error, if that was asked for.
    [[nodiscard]] std::string errors() const {
        std::array<char, 4096> text = {};
        ssize_t length = errors_ < 0 ? 0 : ::pread(errors_, text.data(), text.size(), 0);
        return {text.data(), length > 0 ? static_cast<std::size_t>(length) : 0};
    }

    /// The most memory that was resident at once so far, in KiB.
    [[nodiscard]] double peak_memory() const {
        std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
        for (std::string line; std::getline(status, line);) {
            if (line.rfind("VmHWM:", 0) == 0) {
                return std::strtod(line.c_str() + std::strlen("VmHWM:"), nullptr);
            }
        }
        throw std::runtime_error(name_ + ": has no memory; has it ended?");
    }

    /// The time that all threads of the program have run so far, the kernel's work for it included.
    [[nodiscard]] std::chrono::nanoseconds cpu_time() const {
        clockid_t id = {};
        timespec time = {};
        if (::clock_getcpuclockid(pid_, &id) != 0 || ::clock_gettime(id, &time) != 0) {
            throw std::runtime_error(name_ + ": has no processor clock; has it ended?");
        }
        return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
    }

private:
    void close_errors() const {
        if (errors_ >= 0) {
            ::close(errors_);
        }
    }

    bool read_some(clock::time_point deadline) {
        auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock::now());
        pollfd watched = {.fd = output_, .events = POLLIN, .revents = 0};
        if (left.count() <= 0 || ::poll(&watched, 1, static_cast<int>(left.count())) == 0) {
            throw std::runtime_error(name_ + ": took too long");
        }
        std::array<char, 4096> piece = {};
        ssize_t count = ::read(output_, piece.data(), piece.size());
        if (count > 0) {
            text_.append(piece.data(), static_cast<std::size_t>(count));
        }
        return count > 0 || (count < 0 && errno == EINTR);
    }

    std::string name_;
    pid_t pid_ = -1;
    int output_ = -1;
    int errors_ = -1;
    std::string text_;
    std::optional<int> exit_code_;
    rusage usage_ = {};
};

/// Runs a command to its end. Throws when it fails or takes longer than `limit`.
inline std::string run(const command& line, std::optional<int> cpu, std::chrono::seconds limit) {
    process program(line, cpu);
    std::string output = program.finish(limit);
    if (program.exit_code() != 0) {
        throw std::runtime_error(
            base_name(line.at(0)) + ": ended with exit code " + std::to_string(program.exit_code())
        );
    }
    return output;
}

/// A server that prints `listening on ENDPOINT` and ends with 0 at SIGTERM.
class server {
public:
    /// Each server gets a port of its own: that of a ring which has just gone may still be taken.
    server(const command& line, std::optional<int> cpu)
        : process_(extended(line, {"--listen", "127.0.0.1:0"}), cpu) {
        constexpr std::string_view announcement = "listening on ";
        std::string first = process_.read_line(std::chrono::seconds(10));
        if (first.rfind(announcement, 0) != 0) {
            throw std::runtime_error(
                base_name(line.at(0)) + ": says \"" + first + "\" where it should listen"
            );
        }
        endpoint_ = first.substr(announcement.size());
    }

    /// Ends the server and returns what it printed after its first line.
    std::string stop() {
        process_.terminate();
        std::string output = process_.finish(std::chrono::seconds(20));
        if (process_.exit_code() != 0) {
            throw std::runtime_error(
                "a server ended with exit code " + std::to_string(process_.exit_code())
            );
        }
        return output;
    }

    [[nodiscard]] const std::string& endpoint() const noexcept { return endpoint_; }
    [[nodiscard]] pid_t id() const noexcept { return process_.id(); }
    [[nodiscard]] std::chrono::nanoseconds cpu_time() const { return process_.cpu_time(); }
    [[nodiscard]] double peak_memory() const { return process_.peak_memory(); }

private:
    process process_;
    std::string endpoint_;
};

/// The number that follows `key` in a text of `key=value` or `"key":value`; none if it is not
/// there.
inline std::optional<double> number_after(const std::string& text, const std::string& key) {
    for (const std::string& mark : {key + "=", "\"" + key + "\":"}) {
        for (std::size_t at = text.find(mark); at != std::string::npos;
             at = text.find(mark, at + 1)) {
            bool starts_a_name = at == 0 || mark.front() == '"' || text[at - 1] == '\n';
            if (starts_a_name) {
                return std::strtod(text.c_str() + at + mark.size(), nullptr);
            }
        }
    }
    return std::nullopt;
}

} // namespace bench
