#pragma once

#include <netdb.h>

namespace gyre::inline v0::detail {

/// The two calls by which names are looked up. They are made on several threads at a time.
struct lookup_calls {
    int (*ask)(const char* host, const char* service, const addrinfo* hints, addrinfo** found);
    void (*release)(addrinfo* found);
};

/// Has the lookups that begin from now on make `calls` instead of getaddrinfo(3) and
/// freeaddrinfo(3), for tests; nullptr brings those back. `calls` outlives every lookup. Returns
/// what was in place.
const lookup_calls* replace_lookup_calls(const lookup_calls* calls) noexcept;

} // namespace gyre::inline v0::detail
