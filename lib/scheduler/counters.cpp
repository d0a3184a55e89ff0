#include <gyre/scheduler/counters.hpp>

#include <gyre/ring/uapi.hpp>

#include <cstdint>
#include <string>

namespace gyre::inline v0 {

namespace {

struct opcode_name {
    std::uint8_t opcode;
    const char* name;
};

constexpr opcode_name opcode_names[] = {
    {detail::uapi::op_nop, "nop"},
    {detail::uapi::op_poll_add, "poll"},
    {detail::uapi::op_sendmsg, "sendmsg"},
    {detail::uapi::op_recvmsg, "recvmsg"},
    {detail::uapi::op_accept, "accept"},
    {detail::uapi::op_connect, "connect"},
    {detail::uapi::op_read, "read"},
    {detail::uapi::op_write, "write"},
    {detail::uapi::op_send, "send"},
    {detail::uapi::op_recv, "recv"},
};

} // namespace

std::string scheduler_counters::text() const {
    std::string lines;
    const auto line = [&](const std::string& name, std::uint64_t value) {
        lines += name + "=" + std::to_string(value) + "\n";
    };
    line("turns", turns);
    line("enters", enters);
    line("submissions", submissions);
    line("resumptions", resumptions);
    line("submission_queue_full", submission_queue_full);
    line("completion_queue_overflow", completion_queue_overflow);
    line("enter_retries", enter_retries);
    line("rearms", rearms);
    line("timers_fired", timers_fired);
    line("wakes", wakes);
    line("posts", posts);
    line("refusals", refusals);
    line("cancels_found", cancels_found);
    line("cancels_running", cancels_running);
    line("cancels_late", cancels_late);
    line("cancels_missed", cancels_missed);
    line("forced_drains", forced_drains);
    line("reclaimed", reclaimed);
    line("stray_completions", stray_completions);
    line("slots", slots);
    for (const opcode_name& known : opcode_names) {
        const outcomes& of = completions[known.opcode];
        if (of.succeeded + of.failed + of.canceled != 0) {
            const std::string name = known.name;
            line(name + "_succeeded", of.succeeded);
            line(name + "_failed", of.failed);
            line(name + "_canceled", of.canceled);
        }
    }
    return lines;
}

} // namespace gyre::inline v0
