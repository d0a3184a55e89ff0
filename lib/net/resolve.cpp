#include <gyre/net/resolve.hpp>

#include "named_category.hpp"
#include "net/lookup.hpp"
#include "scheduler/blocking_pool.hpp"
#include "scheduler/mailbox.hpp"

#include <gyre/error.hpp>
#include <gyre/net/endpoint.hpp>
#include <gyre/scheduler/run_loop.hpp>
#include <gyre/scheduler/scheduler.hpp>
#include <gyre/scheduler/waiter.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <netdb.h>
#include <sys/socket.h>

namespace gyre::inline v0 {

namespace {

static_assert(static_cast<int>(resolve_errc::bad_flags) == EAI_BADFLAGS);
static_assert(static_cast<int>(resolve_errc::no_name) == EAI_NONAME);
static_assert(static_cast<int>(resolve_errc::try_again) == EAI_AGAIN);
static_assert(static_cast<int>(resolve_errc::failed) == EAI_FAIL);
static_assert(static_cast<int>(resolve_errc::family) == EAI_FAMILY);
static_assert(static_cast<int>(resolve_errc::bad_socket_type) == EAI_SOCKTYPE);
static_assert(static_cast<int>(resolve_errc::service) == EAI_SERVICE);
static_assert(static_cast<int>(resolve_errc::memory) == EAI_MEMORY);
static_assert(static_cast<int>(resolve_errc::overflow) == EAI_OVERFLOW);
#ifdef EAI_NODATA
static_assert(static_cast<int>(resolve_errc::no_data) == EAI_NODATA);
#endif
#ifdef EAI_ADDRFAMILY
static_assert(static_cast<int>(resolve_errc::address_family) == EAI_ADDRFAMILY);
#endif
#ifdef EAI_IDN_ENCODE
static_assert(static_cast<int>(resolve_errc::bad_name) == EAI_IDN_ENCODE);
#endif

struct errc_text {
    const char* name;
    const char* meaning;
};

// The texts of gai_strerror(3), which the C library would translate.
errc_text text_of(int code) noexcept {
    switch (static_cast<resolve_errc>(code)) {
    case resolve_errc::bad_flags:
        return {"EAI_BADFLAGS", "Bad value for ai_flags"};
    case resolve_errc::no_name:
        return {"EAI_NONAME", "Name or service not known"};
    case resolve_errc::try_again:
        return {"EAI_AGAIN", "Temporary failure in name resolution"};
    case resolve_errc::failed:
        return {"EAI_FAIL", "Non-recoverable failure in name resolution"};
    case resolve_errc::no_data:
        return {"EAI_NODATA", "No address associated with hostname"};
    case resolve_errc::family:
        return {"EAI_FAMILY", "ai_family not supported"};
    case resolve_errc::bad_socket_type:
        return {"EAI_SOCKTYPE", "ai_socktype not supported"};
    case resolve_errc::service:
        return {"EAI_SERVICE", "Servname not supported for ai_socktype"};
    case resolve_errc::address_family:
        return {"EAI_ADDRFAMILY", "Address family for hostname not supported"};
    case resolve_errc::memory:
        return {"EAI_MEMORY", "Memory allocation failure"};
    case resolve_errc::overflow:
        return {"EAI_OVERFLOW", "Result too large for supplied buffer"};
    case resolve_errc::bad_name:
        return {"EAI_IDN_ENCODE", "Parameter string not correctly encoded"};
    }
    return {nullptr, nullptr};
}

class category_of_resolve final : public detail::named_category {
public:
    [[nodiscard]] const char* name() const noexcept override { return "gyre.resolve"; }
    [[nodiscard]] const char* symbol(int code) const noexcept override {
        return text_of(code).name;
    }
    [[nodiscard]] std::string message(int code) const override {
        const char* const known = text_of(code).meaning;
        return known != nullptr ? known : ::gai_strerror(code);
    }
    [[nodiscard]] std::error_condition default_error_condition(int code) const noexcept override {
        if (code == static_cast<int>(resolve_errc::memory)) {
            return std::errc::not_enough_memory;
        }
        return {code, *this};
    }
};

// As long as any static object may look at a code.
union immortal_category {
    constexpr immortal_category() noexcept : category() {}
    ~immortal_category() {}

    category_of_resolve category;
};

constinit const immortal_category immortal;

constexpr detail::lookup_calls calls_of_system = {&::getaddrinfo, &::freeaddrinfo};
constinit std::atomic<const detail::lookup_calls*> calls{&calls_of_system};

} // namespace

const std::error_category& resolve_category() noexcept {
    return immortal.category;
}

std::error_code make_error_code(resolve_errc code) noexcept {
    return {static_cast<int>(code), resolve_category()};
}

namespace detail {

const lookup_calls* replace_lookup_calls(const lookup_calls* replacement) noexcept {
    return calls.exchange(replacement != nullptr ? replacement : &calls_of_system);
}

/// One question and its answer, on the way to a thread of the pool and back.
///
/// The pool's thread owns it while it asks, and posts it to the scheduler, which frees it. Who asked
/// may have gone by then: `waiting` says so, and is touched by the scheduler's thread alone. If the
/// scheduler has ended, the pool's thread frees it.
class lookup final : public blocking_job, public posted {
public:
    lookup(const resolve_description& question, mailbox& answer_to, resolve_awaiter& who)
        : blocking_job(&lookup::ask), waiting(&who), box_(&answer_to), calls_(calls.load()),
          host_(question.host_),
          service_(
              question.has_port_ ? std::to_string(question.port_) : std::string(question.service_)
          ) {
        finish = &lookup::delivered;
        box_->add_reference();
        const resolve_options& options = question.options_;
        hints_.ai_family = raw_family(options.family);
        hints_.ai_socktype = options.datagram ? SOCK_DGRAM : SOCK_STREAM;
        hints_.ai_flags =
            (options.passive ? AI_PASSIVE : 0) | (options.numeric_host ? AI_NUMERICHOST : 0) |
            (options.configured_only ? AI_ADDRCONFIG : 0) | (options.v4_mapped ? AI_V4MAPPED : 0) |
            (question.has_port_ ? AI_NUMERICSERV : 0);
        if (service_.empty()) {
            service_.push_back('0'); // Without a host either, getaddrinfo insists on one.
        }
    }
    ~lookup() {
        if (box_ != nullptr) {
            box_->drop_reference();
        }
    }
    lookup(const lookup&) = delete;
    lookup& operator=(const lookup&) = delete;

    resolve_awaiter* waiting;
    std::error_code error;
    std::vector<endpoint> found;

private:
    static int raw_family(address_family family) noexcept {
        switch (family) {
        case address_family::unspecified:
            return AF_UNSPEC;
        case address_family::ipv4:
            return AF_INET;
        case address_family::ipv6:
            return AF_INET6;
        case address_family::unix_domain:
            break;
        }
        return AF_UNIX; // Answered with EAI_FAMILY.
    }

    // On a thread of the pool.
    static void ask(blocking_job& base) noexcept {
        auto& self = static_cast<lookup&>(base);
        self.look_up();
        // Posting keeps the mailbox, since the lookup may be gone before the call returns.
        mailbox& box = *std::exchange(self.box_, nullptr);
        if (!box.post(self)) {
            delete &self;
        }
        box.drop_reference();
    }

    void look_up() noexcept {
        addrinfo* first = nullptr;
        errno = 0;
        const int code =
            calls_->ask(host_.empty() ? nullptr : host_.c_str(), service_.c_str(), &hints_, &first);
        if (code == EAI_SYSTEM) {
            error = errno_code(errno != 0 ? errno : EIO);
            return;
        }
        if (code != 0) {
            error = {code, resolve_category()};
            return;
        }
        try {
            for (const addrinfo* each = first; each != nullptr; each = each->ai_next) {
                add(*each);
            }
        } catch (const std::bad_alloc&) {
            error = errno_code(ENOMEM);
        }
        if (first != nullptr) {
            calls_->release(first);
        }
        if (!error && found.empty()) {
            error = resolve_errc::no_data;
        }
    }

    void add(const addrinfo& from) {
        if ((from.ai_family != AF_INET && from.ai_family != AF_INET6) ||
            from.ai_addrlen > endpoint::capacity()) {
            return;
        }
        endpoint made;
        std::memcpy(made.data(), from.ai_addr, from.ai_addrlen);
        made.resize(from.ai_addrlen);
        if (std::find(found.begin(), found.end(), made) == found.end()) {
            found.push_back(made);
        }
    }

    // On the scheduler's thread.
    static void delivered(posted& base, bool run) noexcept {
        const std::unique_ptr<lookup> self(static_cast<lookup*>(&base));
        if (self->waiting == nullptr) {
            return;
        }
        if (run) {
            self->waiting->answered(*self);
        } else {
            self->waiting->asked_ = nullptr; // Its scheduler left it where it is.
        }
    }

    mailbox* box_; // Counted.
    const lookup_calls* calls_;
    std::string host_;
    std::string service_;
    addrinfo hints_{};
};

namespace {

// An address and a port, for which nobody has to be asked. What is not plainly both is the system's
// to judge.
bool is_number(
    std::string_view host, std::string_view service, const resolve_options& options, endpoint& made
) noexcept {
    const bool with_colons = host.find(':') != host.npos;
    std::array<char, 96> text; // Room for any address, a scope and a port.
    if (host.size() + service.size() + 4 > text.size()) {
        return false;
    }
    char* end = text.data();
    const auto append = [&end](std::string_view piece) {
        end = std::copy(piece.begin(), piece.end(), end);
    };
    append(with_colons ? "[" : "");
    append(host);
    append(with_colons ? "]:" : ":");
    append(service.empty() ? "0" : service);
    const auto parsed = endpoint::parse({text.data(), static_cast<std::size_t>(end - text.data())});
    if (!parsed) {
        return false;
    }
    made = *parsed;
    const address_family family = made.family();
    return (family == address_family::ipv4 || family == address_family::ipv6) &&
           (options.family == address_family::unspecified || options.family == family);
}

} // namespace

bool resolve_awaiter::start(const task_context& context, waiter& told) noexcept {
    over_ = true;
    if (context.stop->canceled()) {
        error_ = errno_code(ECANCELED);
        return true;
    }
    const resolve_description& question = description_;
    if (question.host_.find('\0') != question.host_.npos) {
        error_ = resolve_errc::no_name;
        return true;
    }
    if (question.service_.find('\0') != question.service_.npos) {
        error_ = resolve_errc::service;
        return true;
    }
    std::array<char, 8> digits;
    std::string_view service = question.service_;
    if (question.has_port_) {
        const auto written = std::to_chars(digits.begin(), digits.end(), question.port_);
        service = {digits.data(), static_cast<std::size_t>(written.ptr - digits.data())};
    }
    try {
        endpoint at;
        if (is_number(question.host_, service, question.options_, at)) {
            found_.push_back(at);
            return true;
        }
        auto made = std::make_unique<lookup>(question, context.owner->box(), *this);
        const int error = blocking_pool::of_process().submit(*made);
        if (error != 0) {
            error_ = errno_code(error);
            return true;
        }
        asked_ = made.release();
    } catch (const std::bad_alloc&) {
        error_ = errno_code(ENOMEM);
        return true;
    }
    over_ = false;
    told_ = &told;
    return false;
}

resolve_awaiter::result_type resolve_awaiter::take() {
    if (error_) {
        return error_;
    }
    return std::move(found_);
}

void resolve_awaiter::answered(lookup& answer) noexcept {
    asked_ = nullptr;
    error_ = answer.error;
    found_ = std::move(answer.found);
    over_ = true;
    told_->notify();
}

// The lookup is on its own from here on: it cannot be interrupted.
void resolve_awaiter::leave() noexcept {
    if (lookup* left = std::exchange(asked_, nullptr)) {
        left->waiting = nullptr;
        if (blocking_pool::withdraw(*left)) {
            delete left;
        }
    }
}

pending* resolve_awaiter::request(pending& base, stop_level level) noexcept {
    auto& self = static_cast<resolve_awaiter&>(base);
    if (level == stop_level::cancel && self.asked_ != nullptr) {
        self.leave();
        self.error_ = errno_code(ECANCELED);
        self.over_ = true;
        self.told_->notify();
    }
    return nullptr;
}

} // namespace detail
} // namespace gyre::inline v0
