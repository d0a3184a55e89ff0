// libuv_echo.cpp: sends every byte back; written on libuv.
//
// All connections share one buffer, since what was read is sent at once; uv_try_write does that
// without a request. Only what a peer does not take is copied, and reading pauses until it is gone.
//
// Run: libuv_echo --listen 127.0.0.1:7000   Needs: libuv (Debian: libuv1-dev).

#include "baseline/server.hpp"

#include <uv.h>
#include <uv/unix.h> // uv_buf_t

#include <signal.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <string>
#include <vector>

namespace {

void check(const char* what, int outcome) {
    if (outcome < 0) {
        baseline::fail(what, -outcome);
    }
}

struct connection {
    uv_tcp_t socket = {};
    uv_write_t request = {};
    std::vector<char> rest; // what the peer has not taken yet
};

std::array<char, baseline::buffer_size> shared_buffer;

connection* of(uv_handle_t* handle) {
    return static_cast<connection*>(handle->data);
}

connection* of(uv_stream_t* stream) {
    return static_cast<connection*>(stream->data);
}

uv_stream_t* stream_of(connection* peer) {
    return reinterpret_cast<uv_stream_t*>(&peer->socket);
}

void close(connection* peer) {
    auto* handle = reinterpret_cast<uv_handle_t*>(&peer->socket);
    if (uv_is_closing(handle) == 0) {
        uv_close(handle, [](uv_handle_t* closed) { delete of(closed); });
    }
}

void on_buffer(uv_handle_t* /*handle*/, std::size_t /*suggested*/, uv_buf_t* buffer) {
    *buffer = uv_buf_init(shared_buffer.data(), static_cast<unsigned>(shared_buffer.size()));
}

void on_read(uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer);

void on_written(uv_write_t* request, int status) {
    auto* peer = of(request->handle);
    if (status < 0) {
        close(peer);
        return;
    }
    check("uv_read_start", uv_read_start(stream_of(peer), on_buffer, on_read));
}

void on_read(uv_stream_t* stream, ssize_t count, const uv_buf_t* buffer) {
    connection* peer = of(stream);
    if (count < 0) {
        close(peer);
        return;
    }
    if (count == 0) { // nothing was there after all
        return;
    }
    uv_buf_t received = uv_buf_init(buffer->base, static_cast<unsigned>(count));
    int sent = uv_try_write(stream, &received, 1);
    if (sent < 0 && sent != UV_EAGAIN) {
        close(peer);
        return;
    }
    if (sent < count) {
        uv_read_stop(stream);
        peer->rest.assign(buffer->base + std::max(sent, 0), buffer->base + count);
        uv_buf_t rest = uv_buf_init(peer->rest.data(), static_cast<unsigned>(peer->rest.size()));
        if (uv_write(&peer->request, stream, &rest, 1, on_written) < 0) {
            close(peer);
        }
    }
}

void on_connection(uv_stream_t* listener, int status) {
    if (status < 0) {
        if (status != UV_ECONNABORTED) {
            check("accept", status);
        }
        return;
    }
    auto* peer = new connection;
    check("uv_tcp_init", uv_tcp_init(listener->loop, &peer->socket));
    peer->socket.data = peer;
    check("uv_accept", uv_accept(listener, stream_of(peer)));
    check("uv_read_start", uv_read_start(stream_of(peer), on_buffer, on_read));
}

} // namespace

int main(int argc, char** argv) {
    std::string version = std::string("libuv ") + uv_version_string();
    baseline::settings chosen = baseline::parse(argc, argv, version.c_str());
    int signals = baseline::signals_to_end();
    ::signal(SIGPIPE, SIG_IGN); // libuv leaves that to the program
    uv_loop_t loop = {};
    check("uv_loop_init", uv_loop_init(&loop));
    uv_tcp_t listener = {};
    check("uv_tcp_init", uv_tcp_init(&loop, &listener));
    check("uv_tcp_open", uv_tcp_open(&listener, baseline::listen_on(chosen)));
    check(
        "uv_listen", uv_listen(reinterpret_cast<uv_stream_t*>(&listener), SOMAXCONN, on_connection)
    );
    uv_poll_t end = {};
    check("uv_poll_init", uv_poll_init(&loop, &end, signals));
    check("uv_poll_start", uv_poll_start(&end, UV_READABLE, [](uv_poll_t* poll, int, int) {
              uv_stop(poll->loop);
          }));
    uv_run(&loop, UV_RUN_DEFAULT);

    // What is still open is closed, and the loop told so by one more run.
    uv_walk(
        &loop,
        [](uv_handle_t* handle, void*) {
            if (handle->data != nullptr) {
                close(of(handle));
            } else {
                uv_close(handle, nullptr);
            }
        },
        nullptr
    );
    uv_run(&loop, UV_RUN_DEFAULT);
    check("uv_loop_close", uv_loop_close(&loop));
    return 0;
}
