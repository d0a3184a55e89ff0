#pragma once

#include <cstddef>

namespace gyre::inline v0::detail {

/// Recycles the memory of coroutine frames and of spawned children, per thread. Blocks up to 16 KiB
/// are kept, at most 32 MiB of them; larger ones go straight to the global operators. Under
/// AddressSanitizer everything does, since a pool hides use after free.
///
/// A block may be freed on another thread than it came from. Both functions stay out of line:
/// inlined into a coroutine, a compiler may keep a thread's variable across a suspension.
class frame_pool {
public:
    static void* allocate(std::size_t size);
    static void deallocate(void* block, std::size_t size) noexcept;

    /// Gives what this thread keeps back to the global operators.
    static void drain() noexcept;

    /// How many bytes this thread keeps.
    static std::size_t kept() noexcept;
};

} // namespace gyre::inline v0::detail
