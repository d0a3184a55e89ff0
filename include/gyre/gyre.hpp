#pragma once

/// All of gyre that a first program needs. Larger programs include what they use.

// IWYU pragma: begin_exports
#include <gyre/error.hpp>
#include <gyre/io/buffered_reader.hpp>
#include <gyre/io/buffered_writer.hpp>
#include <gyre/io/byte_stream.hpp>
#include <gyre/io/connect_to.hpp>
#include <gyre/io/copy.hpp>
#include <gyre/io/send_file.hpp>
#include <gyre/io/serve.hpp>
#include <gyre/io/signals.hpp>
#include <gyre/log.hpp>
#include <gyre/net/activation.hpp>
#include <gyre/net/ancillary.hpp>
#include <gyre/net/credentials.hpp>
#include <gyre/net/datagram.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/net/generic_socket.hpp>
#include <gyre/net/ip_option.hpp>
#include <gyre/net/listener.hpp>
#include <gyre/net/message.hpp>
#include <gyre/net/option.hpp>
#include <gyre/net/owned_descriptor.hpp>
#include <gyre/net/recv_exactly.hpp>
#include <gyre/net/resolve.hpp>
#include <gyre/net/send_all.hpp>
#include <gyre/net/seqpacket.hpp>
#include <gyre/net/stream.hpp>
#include <gyre/net/stream_message.hpp>
#include <gyre/net/transfer.hpp>
#include <gyre/result.hpp>
#include <gyre/scheduler/clock.hpp>
#include <gyre/scheduler/scheduler.hpp>
#include <gyre/task/now_or_later.hpp>
#include <gyre/task/or_return.hpp>
#include <gyre/task/or_throw.hpp>
#include <gyre/task/run.hpp>
#include <gyre/task/scope.hpp>
#include <gyre/task/sleep.hpp>
#include <gyre/task/stop.hpp>
#include <gyre/task/task.hpp>
#include <gyre/task/when_all.hpp>
#include <gyre/task/when_any.hpp>
#include <gyre/task/with_timeout.hpp>
#include <gyre/version.hpp>
// IWYU pragma: end_exports
