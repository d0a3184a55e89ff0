#include <gyre/net/socket_file.hpp>

#include <gyre/net/endpoint.hpp>
#include <gyre/ring/domain.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include <sys/socket.h>
#include <sys/un.h>

namespace gyre::inline v0::detail {

namespace {

// Neither unnamed nor abstract.
bool is_path(const endpoint& at) noexcept {
    constexpr std::size_t offset = offsetof(sockaddr_un, sun_path);
    return at.family() == address_family::unix_domain && at.size() > offset &&
           static_cast<const char*>(at.data())[offset] != '\0';
}

} // namespace

socket_file::socket_file() noexcept = default;

socket_file::socket_file(socket_file&& other) noexcept = default;

socket_file& socket_file::operator=(socket_file&& other) noexcept {
    if (this != &other) {
        remove();
        home_ = other.home_;
        made_ = std::move(other.made_);
    }
    return *this;
}

socket_file::~socket_file() {
    remove();
}

void socket_file::remove() noexcept {
    if (made_ != nullptr) {
        home_->remove_file(*made_);
        made_.reset();
    }
}

void socket_file::forget() noexcept {
    made_.reset();
}

int bind_socket(
    domain& home, int fd, const endpoint& at, const socket_file_options& options, socket_file& file
) noexcept {
    const auto size = static_cast<std::uint32_t>(at.size());
    if (!is_path(at) || (!options.mode && !options.remove_on_close && !options.replace_stale)) {
        return home.bind(fd, at.data(), size);
    }
    std::unique_ptr<made_file> made(new (std::nothrow) made_file);
    if (made == nullptr) {
        return -ENOMEM;
    }
    const file_wish wish = {
        options.mode ? static_cast<int>(*options.mode) : -1, options.replace_stale
    };
    const int answer = home.bind_file(fd, at.data(), size, wish, *made);
    if (answer == 0) {
        file.home_ = &home;
        file.made_ = std::move(made);
    }
    return answer;
}

} // namespace gyre::inline v0::detail
