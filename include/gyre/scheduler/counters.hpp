#pragma once

#include <gyre/ring/uapi.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace gyre::inline v0 {

/// What a scheduler has done so far. Written by its thread alone.
struct scheduler_counters {
    struct outcomes {
        std::uint64_t succeeded = 0;
        std::uint64_t failed = 0;
        std::uint64_t canceled = 0; ///< Completed with ECANCELED.
    };

    std::uint64_t turns = 0;
    std::uint64_t enters = 0;
    std::uint64_t submissions = 0;
    std::uint64_t resumptions = 0;
    std::uint64_t submission_queue_full = 0; ///< Times the queue had to be flushed early.
    std::uint64_t completion_queue_overflow = 0;
    std::uint64_t enter_retries = 0; ///< EINTR, EAGAIN, EBUSY and short submits.
    std::uint64_t rearms = 0;        ///< Operations submitted again to go on.
    std::uint64_t timers_fired = 0;
    std::uint64_t wakes = 0;             ///< Wake-ups by other threads that arrived.
    std::uint64_t posts = 0;             ///< Functions posted to this scheduler that ran.
    std::uint64_t refusals = 0;          ///< Awaits that ended at once in a canceled scope.
    std::uint64_t cancels_found = 0;     ///< Cancels that ended their target.
    std::uint64_t cancels_running = 0;   ///< EALREADY: the target was being executed; asked again.
    std::uint64_t cancels_late = 0;      ///< ENOENT: the target had completed.
    std::uint64_t cancels_missed = 0;    ///< ENOENT, yet the target was in flight: tried again.
    std::uint64_t forced_drains = 0;     ///< Operations destroyed, or closed, while in flight.
    std::uint64_t reclaimed = 0;         ///< Results that nobody took and that were given back.
    std::uint64_t stray_completions = 0; ///< Completions of operations that had ended.
    std::uint64_t slots = 0;             ///< The size of the operation table.
    std::array<outcomes, detail::uapi::opcode_count> completions{}; ///< By opcode.

    /// One `name=value` a line; opcodes without completions are left out.
    std::string text() const;
};

} // namespace gyre::inline v0
