// asio_echo.cpp: sends every byte back; coroutines of Asio on its epoll reactor, one thread.
//
// What its own examples do, with what makes it fast: an io_context that takes no locks, errors as
// values, and buffers in the coroutines' frames.
//
// Run: asio_echo --listen 127.0.0.1:7000   Needs: Asio (Debian: libasio-dev).

#include "baseline/server.hpp"

#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/version.hpp>
#include <asio/write.hpp>

#include <array>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>

namespace {

using asio::ip::tcp;

asio::awaitable<void> echo(tcp::socket peer) {
    std::array<std::byte, baseline::buffer_size> buffer;
    asio::error_code error;
    auto outcome = asio::redirect_error(asio::use_awaitable, error);
    for (;;) {
        std::size_t received = co_await peer.async_read_some(asio::buffer(buffer), outcome);
        if (error) {
            co_return;
        }
        co_await asio::async_write(peer, asio::buffer(buffer.data(), received), outcome);
        if (error) {
            co_return;
        }
    }
}

asio::awaitable<void> accept(tcp::acceptor& listener) {
    asio::error_code error;
    auto outcome = asio::redirect_error(asio::use_awaitable, error);
    for (;;) {
        tcp::socket peer = co_await listener.async_accept(outcome);
        if (!error) {
            asio::co_spawn(listener.get_executor(), echo(std::move(peer)), asio::detached);
        } else if (error != asio::error::connection_aborted) {
            baseline::fail("accept", error.value());
        }
    }
}

std::string version() {
    return "Asio " + std::to_string(ASIO_VERSION / 100000) + "." +
           std::to_string(ASIO_VERSION / 100 % 1000) + "." + std::to_string(ASIO_VERSION % 100);
}

} // namespace

int main(int argc, char** argv) {
    baseline::settings chosen = baseline::parse(argc, argv, version().c_str());
    int signals = baseline::signals_to_end();
    asio::io_context context(ASIO_CONCURRENCY_HINT_UNSAFE);
    tcp::acceptor listener(context, tcp::v4(), baseline::listen_on(chosen));
    asio::posix::stream_descriptor end(context, signals);
    end.async_wait(asio::posix::stream_descriptor::wait_read, [&context](asio::error_code) {
        context.stop();
    });
    asio::co_spawn(context, accept(listener), asio::detached);
    context.run();
    return 0;
}
