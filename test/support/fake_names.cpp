#include "support/fake_names.hpp"

#include "net/lookup.hpp"

#include <gyre/net/endpoint.hpp>

#include <cerrno>
#include <condition_variable>
#include <cstddef>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <netdb.h>
#include <sys/socket.h>

namespace test {

namespace {

struct fate {
    std::vector<gyre::endpoint> endpoints;
    int code = 0;
    int error = 0;
};

// Not a member of the object: a question may come a moment after its task was canceled.
struct state {
    std::map<std::string, fate> known;
    fake_names::question last;
    std::size_t asked = 0;
    std::size_t present = 0;
    std::size_t lists = 0;
    std::size_t released = 0;
    bool holds = false;
};

std::mutex lock; // Protects the state.
std::condition_variable changed;
state now;

struct node {
    addrinfo info{};
    gyre::endpoint at;
};

int ask(const char* host, const char* service, const addrinfo* hints, addrinfo** found) {
    std::unique_lock guard(lock);
    ++now.asked;
    ++now.present;
    now.last = {
        host != nullptr ? host : "",
        service != nullptr ? service : "",
        hints->ai_family,
        hints->ai_socktype,
        hints->ai_flags
    };
    changed.wait(guard, [] { return !now.holds; });
    --now.present;
    changed.notify_all();
    const auto place = now.known.find(host != nullptr ? host : "");
    if (place == now.known.end()) {
        return EAI_NONAME;
    }
    if (place->second.code != 0) {
        errno = place->second.error;
        return place->second.code;
    }
    ++now.lists;
    addrinfo** link = found;
    for (const gyre::endpoint& each : place->second.endpoints) {
        auto* made = new node;
        made->at = each;
        made->info.ai_family = each.raw_family();
        made->info.ai_addr = reinterpret_cast<sockaddr*>(made->at.data());
        made->info.ai_addrlen = static_cast<socklen_t>(each.size());
        *link = &made->info;
        link = &made->info.ai_next;
    }
    return 0;
}

void release(addrinfo* found) {
    {
        const std::scoped_lock guard(lock);
        ++now.released;
    }
    while (found != nullptr) {
        addrinfo* next = found->ai_next;
        delete reinterpret_cast<node*>(found); // Its first member.
        found = next;
    }
}

constexpr gyre::detail::lookup_calls calls = {&ask, &release};

} // namespace

fake_names::fake_names() : before_(gyre::detail::replace_lookup_calls(&calls)) {
    const std::scoped_lock guard(lock);
    now = state();
}

fake_names::~fake_names() {
    gyre::detail::replace_lookup_calls(before_);
    let_go();
    std::unique_lock guard(lock);
    changed.wait(guard, [] { return now.present == 0; });
}

void fake_names::answer(const std::string& host, std::vector<gyre::endpoint> with) {
    const std::scoped_lock guard(lock);
    now.known[host] = {std::move(with), 0, 0};
}

void fake_names::fail(const std::string& host, int code, int error) {
    const std::scoped_lock guard(lock);
    now.known[host] = {{}, code, error};
}

void fake_names::hold() {
    const std::scoped_lock guard(lock);
    now.holds = true;
}

void fake_names::let_go() {
    const std::scoped_lock guard(lock);
    now.holds = false;
    changed.notify_all();
}

std::size_t fake_names::asked() const {
    const std::scoped_lock guard(lock);
    return now.asked;
}

std::size_t fake_names::present() const {
    const std::scoped_lock guard(lock);
    return now.present;
}

std::size_t fake_names::lists() const {
    const std::scoped_lock guard(lock);
    return now.lists;
}

std::size_t fake_names::released() const {
    const std::scoped_lock guard(lock);
    return now.released;
}

fake_names::question fake_names::last() const {
    const std::scoped_lock guard(lock);
    return now.last;
}

} // namespace test
