// A child process may end a scheduler that it inherited, and make one of its own.

#include <gyre/gyre.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <memory>

#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;

int main() {
    auto inherited = std::make_unique<gyre::scheduler>();
    auto pair = gyre::stream::pair();
    const auto posted = inherited->handle().post([&] {
        gyre::spawn([&]() -> gyre::task<> {
            std::array<std::byte, 1> buffer;
            const auto received = co_await pair.first.recv(buffer);
            std::puts(received ? "the parent's task got its byte" : "the parent's task failed");
        });
    });
    if (!posted) {
        return 1;
    }
    inherited->turn();
    const pid_t child = ::fork();
    if (child == 0) {
        inherited.reset();
        const int code = gyre::run([]() -> gyre::task<int> {
            const auto slept = co_await gyre::sleep_for(1ms);
            co_return slept ? 0 : 1;
        });
        ::_exit(code);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (::write(pair.second.native_handle(), "x", 1) != 1) {
        return 1;
    }
    while (inherited->operations_in_flight() != 0) {
        inherited->turn();
    }
    inherited.reset();
    std::fflush(stdout);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 42 : 1;
}
