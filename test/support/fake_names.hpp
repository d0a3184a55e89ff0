#pragma once

// Takes the place of getaddrinfo(3), so that no test asks the network or depends on its files.

#include "net/lookup.hpp"

#include <gyre/net/endpoint.hpp>

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace test {

/// While it lives, lookups are answered here. A host that was not told of is EAI_NONAME. Every
/// member may be called from any thread.
class fake_names {
public:
    fake_names();
    /// Lets go whoever is held, and waits until nobody is here.
    ~fake_names();
    fake_names(const fake_names&) = delete;
    fake_names& operator=(const fake_names&) = delete;

    struct question {
        std::string host;
        std::string service;
        int family = 0;
        int socket_type = 0;
        int flags = 0;
    };

    /// \param error  errno, for EAI_SYSTEM.
    void answer(const std::string& host, std::vector<gyre::endpoint> with);
    void fail(const std::string& host, int code, int error = 0);

    /// From now on questions wait, until `let_go`.
    void hold();
    void let_go();

    /// How many questions have come, are here now, were answered with a list, gave it back.
    std::size_t asked() const;
    std::size_t present() const;
    std::size_t lists() const;
    std::size_t released() const;
    question last() const;

private:
    const gyre::detail::lookup_calls* before_;
};

} // namespace test
