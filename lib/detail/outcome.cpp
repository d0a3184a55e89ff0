#include <gyre/detail/outcome.hpp>

#include <gyre/error.hpp>

#include <system_error>

namespace gyre::inline v0::detail {

std::error_code instead_of_canceled(std::error_code error, errc by) noexcept {
    return is_canceled(error) ? make_error_code(by) : error;
}

} // namespace gyre::inline v0::detail
