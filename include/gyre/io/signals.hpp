#pragma once

#include <gyre/net/descriptor.hpp>
#include <gyre/result.hpp>
#include <gyre/task/task.hpp>

#include <array>
#include <cstdint>
#include <initializer_list>

namespace gyre::inline v0 {

/// Signals as something to await. While it lives, its signals are blocked on this thread and arrive
/// here instead of killing or interrupting the process; signalfd(2).
///
/// Make it before other threads are started: a thread that does not block them receives them first.
/// When it goes, signals that nobody took are dropped and the thread's mask is as it was.
class signals : public descriptor {
public:
    /// \param numbers  signal numbers such as SIGINT.
    /// \throws std::system_error  `EMFILE`, `ENFILE`; `EINVAL` no such signal.
    explicit signals(std::initializer_list<int> numbers);
    ~signals();
    signals(const signals&) = delete;
    signals& operator=(const signals&) = delete;

    /// Waits for the next signal.
    ///
    /// \return  its number.
    /// \par Errors  `ECANCELED` canceled.
    task<result<int>> next();

private:
    std::array<std::uint64_t, 16> previous_mask_; // The system's sigset_t.
};

} // namespace gyre::inline v0
