#pragma once

#include <gyre/task/when.hpp>

namespace gyre::inline v0 {

/// Awaits all of `descriptions` side by side; yields their outcomes as a `std::tuple`.
///
/// The first failure, an exception or an outcome that holds an error, cancels the others. It
/// returns when all have ended, and no outcome is lost: each stands in the tuple (`result<void>`
/// for a task without a value). The first exception is thrown instead.
///
/// \param descriptions  operations, tasks or adaptors.
template <detail::adaptable... Descriptions>
    requires(sizeof...(Descriptions) > 0)
auto when_all(Descriptions... descriptions) noexcept {
    return detail::when_description<false, Descriptions...>(std::move(descriptions)...);
}

} // namespace gyre::inline v0
