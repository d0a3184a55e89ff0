// What activation_test starts as a service manager would: it says what it was handed over, and
// serves one client on the listener called "echo". GYRE_ENGINE chooses its engine.

#include <gyre/gyre.hpp>
#include <gyre/net/activation.hpp>

#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <utility>

#include <fcntl.h>

int main() {
    auto handed = gyre::inherited_descriptors();
    std::printf("%zu\n", handed.size());
    for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) {
        if (std::getenv(name) != nullptr) {
            std::printf("%s is left\n", name);
        }
    }
    std::printf("then %zu\n", gyre::inherited_descriptors().size());
    return gyre::run([&]() -> gyre::task<int> {
        int code = 3;
        for (gyre::inherited_descriptor& each : handed) {
            const int fd = each.descriptor.native_handle();
            const bool close_on_exec = (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
            auto listener = gyre::listener::try_adopt(std::move(each.descriptor));
            std::printf(
                "%d %s %s %s\n",
                fd,
                each.name.c_str(),
                close_on_exec ? "close-on-exec" : "inherited",
                listener ? "listener" : gyre::errno_name(listener.error().value())
            );
            std::fflush(stdout);
            if (!listener || each.name != "echo") {
                continue;
            }
            auto peer = co_await listener->accept();
            if (!peer) {
                co_return 4;
            }
            std::array<std::byte, 5> buffer;
            const auto received = co_await gyre::recv_exactly(*peer, buffer);
            const auto sent = co_await gyre::send_all(*peer, buffer);
            code = received && sent ? 0 : 5;
        }
        co_return code;
    });
}
