#pragma once

#include <gyre/task/when.hpp>

namespace gyre::inline v0 {

/// Awaits `descriptions` side by side until the first one ends, cancels the others *and waits for
/// them*; yields an `any_outcome`: the index of the first, and the outcome of every one.
///
/// A loser that had moved bytes before the cancel reached it says so in its outcome. The first
/// exception, of whichever branch, is thrown instead.
///
/// \param descriptions  operations, tasks or adaptors.
template <detail::adaptable... Descriptions>
    requires(sizeof...(Descriptions) > 0)
auto when_any(Descriptions... descriptions) noexcept {
    return detail::when_description<true, Descriptions...>(std::move(descriptions)...);
}

} // namespace gyre::inline v0
