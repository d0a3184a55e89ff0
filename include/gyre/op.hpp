#pragma once

/// The raw layer, all of it. `gyre.hpp` leaves it out.

// IWYU pragma: begin_exports
#include <gyre/op/descriptor.hpp>
#include <gyre/op/file.hpp>
#include <gyre/op/futex.hpp>
#include <gyre/op/msg_ring.hpp>
#include <gyre/op/socket.hpp>
// IWYU pragma: end_exports
