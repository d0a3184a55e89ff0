#pragma once

#include <system_error>

namespace gyre::inline v0::detail {

/// A category whose codes have names, as errno has: what `describe` puts before the meaning.
class named_category : public std::error_category {
public:
    /// Null for a code without a name.
    virtual const char* symbol(int code) const noexcept = 0;
};

} // namespace gyre::inline v0::detail
