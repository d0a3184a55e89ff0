#pragma once

#include <gyre/net/endpoint.hpp>
#include <gyre/result.hpp>
#include <gyre/task/awaitable.hpp>

#include <cstdint>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

namespace gyre::inline v0 {

/// Why the system has no answer to a question for a name; the values of getaddrinfo(3). A failure
/// of the machine, its EAI_SYSTEM, is an errno instead, and its EAI_MEMORY equals
/// `std::errc::not_enough_memory`.
enum class resolve_errc {
    bad_flags = -1,       ///< EAI_BADFLAGS
    no_name = -2,         ///< EAI_NONAME: there is no such host, or no such service
    try_again = -3,       ///< EAI_AGAIN: nobody answers at the moment
    failed = -4,          ///< EAI_FAIL: a name server refuses to answer
    no_data = -5,         ///< EAI_NODATA: the host is known, but has no address
    family = -6,          ///< EAI_FAMILY: the family is neither IPv4 nor IPv6
    bad_socket_type = -7, ///< EAI_SOCKTYPE
    service = -8,         ///< EAI_SERVICE: the service has no port of the kind of socket asked for
    address_family = -9,  ///< EAI_ADDRFAMILY: the host has no address of the family asked for
    memory = -10,         ///< EAI_MEMORY
    overflow = -12,       ///< EAI_OVERFLOW
    bad_name = -105,      ///< EAI_IDN_ENCODE: the name cannot be written in ASCII
};

/// The category of `resolve_errc`; its name is "gyre.resolve". The texts are those of
/// gai_strerror(3), untranslated.
const std::error_category& resolve_category() noexcept;

std::error_code make_error_code(resolve_errc code) noexcept;

/// What `resolve` asks for.
struct resolve_options {
    /// Only addresses of this family, IPv4 or IPv6; by default of both.
    address_family family = address_family::unspecified;
    /// The service is one of UDP rather than of TCP. A few names differ; the addresses do not.
    bool datagram = false;
    /// The addresses are to be listened on: an empty host is every address of this machine rather
    /// than loopback. AI_PASSIVE.
    bool passive = false;
    /// Asks nobody: a host that is not a number is `no_name`. AI_NUMERICHOST.
    bool numeric_host = false;
    /// Leaves out a family of which this machine has no address but loopback. AI_ADDRCONFIG.
    bool configured_only = false;
    /// With `family` IPv6: the IPv4 addresses of a host that has no others, as IPv4-mapped ones.
    /// AI_V4MAPPED.
    bool v4_mapped = false;
};
static_assert(std::is_trivially_destructible_v<resolve_options>);

class resolve_description;

namespace detail {

class lookup;

/// Waits for a lookup, which is an object of its own: a cancel leaves it to itself.
class resolve_awaiter final : public pending {
public:
    using result_type = result<std::vector<endpoint>>;
    static constexpr bool stop_is_looked_at_once = true;

    explicit resolve_awaiter(resolve_description& description) noexcept
        : pending(kind_of), description_(description) {}
    ~resolve_awaiter() { leave(); }

    bool start(const task_context& context, waiter& told) noexcept;
    bool over() const noexcept { return over_; }
    result_type take();

private:
    friend lookup;
    void answered(lookup& answer) noexcept;
    void leave() noexcept;
    static pending* request(pending& base, stop_level level) noexcept;
    static constexpr pending_kind kind_of = {&request, "resolve"};

    resolve_description& description_;
    waiter* told_ = nullptr;
    lookup* asked_ = nullptr; // While there is no answer.
    bool over_ = false;
    std::error_code error_;
    std::vector<endpoint> found_;
};

} // namespace detail

/// What `resolve` returns.
class [[nodiscard("co_await the lookup")]] resolve_description : public detail::awaitable_base {
public:
    using awaiter = detail::resolve_awaiter;

    resolve_description(
        std::string_view host, std::string_view service, const resolve_options& options
    ) noexcept
        : host_(host), service_(service), options_(options) {}
    resolve_description(
        std::string_view host, std::uint16_t port, const resolve_options& options
    ) noexcept
        : host_(host), port_(port), has_port_(true), options_(options) {}

private:
    friend awaiter;
    friend detail::lookup;
    std::string_view host_;
    std::string_view service_;
    std::uint16_t port_ = 0;
    bool has_port_ = false;
    resolve_options options_;
};

/// Finds the endpoints of a service on a host, as getaddrinfo(3) does: in files, from name servers,
/// or wherever the system is told to look.
///
/// The system's call cannot be made without waiting, so it is made on one of up to four threads,
/// which start when they are needed and end when they are not. A host that is an IPv4 or IPv6
/// address, with a port, is answered at once.
///
/// \param host     a name, or an address: `example.org`, `127.0.0.1`, `::1`, `fe80::1%eth0`. Empty
///                 for this machine: loopback, or every address with `passive`.
/// \param service  a name or a number: `https`, `443`; empty for port 0. Or a number as such.
/// \param options  the family, and what is left out.
/// \return         at least one endpoint and none twice, the best first (RFC 6724). The vector is
///                 allocated, and so is the question with its copies of `host` and `service`.
///
/// \par Errors        `resolve_errc::no_name` no such host. `try_again` nobody answers; the other
///                    codes of `resolve_errc`. `EAGAIN`, `ENOMEM` no thread or memory for it.
///                    `EMFILE`, `ENFILE` the system's call had no descriptor left. `ECANCELED` the
///                    task was canceled.
/// \par Cancellation  The task resumes at once. A lookup that waits for a thread is withdrawn; one
///                    that is being made goes on by itself, and its answer is dropped.
/// \par Lifetime      What `host` and `service` refer to is copied when the await begins.
/// \par Concurrency   Any number of lookups at a time; those that find no thread free wait in order.
/// \par Kernel        none of it; getaddrinfo(3), gai.conf(5), nsswitch.conf(5).
inline resolve_description resolve(
    std::string_view host, std::string_view service, const resolve_options& options = {}
) noexcept {
    return resolve_description(host, service, options);
}
inline resolve_description
resolve(std::string_view host, std::uint16_t port, const resolve_options& options = {}) noexcept {
    return resolve_description(host, port, options);
}

} // namespace gyre::inline v0

template <>
struct std::is_error_code_enum<gyre::resolve_errc> : std::true_type {};
