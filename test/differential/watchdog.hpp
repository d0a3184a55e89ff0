#pragma once

#include <string_view>

namespace differential {

/// Ends the process with a message if it is not stopped, or started again, in time: an operation
/// that never completes is a failure whose program can be named. By a signal and not by a timer of
/// the scheduler: with a deadline, the blocking engine would never make a blocking call.
class watchdog {
public:
    watchdog();
    ~watchdog();
    watchdog(const watchdog&) = delete;
    watchdog& operator=(const watchdog&) = delete;

    /// `message` is printed when `seconds` have passed.
    void start(std::string_view message, int seconds);
    /// What it says in addition: what runs now. From the thread that started it.
    static void note(std::string_view doing) noexcept;
    void stop() noexcept;
};

} // namespace differential
