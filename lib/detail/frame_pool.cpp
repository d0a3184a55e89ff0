#include <gyre/detail/frame_pool.hpp>

#include <cstddef>
#include <new>

namespace gyre::inline v0::detail {

#if defined(__SANITIZE_ADDRESS__)
#define GYRE_POOL_FRAMES 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GYRE_POOL_FRAMES 0
#endif
#endif
#ifndef GYRE_POOL_FRAMES
#define GYRE_POOL_FRAMES 1
#endif

#if GYRE_POOL_FRAMES

namespace {

struct block {
    block* next;
};

// Two ladders of classes: steps of 64 bytes for the frames of most tasks, steps of 512 for those
// that hold a buffer.
constexpr std::size_t fine_grain = 64;
constexpr std::size_t fine_max = 2048;
constexpr std::size_t coarse_grain = 512;
constexpr std::size_t coarse_max = 16384;
constexpr std::size_t fine_classes = fine_max / fine_grain;
constexpr std::size_t classes = fine_classes + (coarse_max - fine_max) / coarse_grain;
constexpr std::size_t bytes_max = std::size_t{32} << 20;

struct size_class {
    std::size_t index;
    std::size_t size;
};

size_class class_of(std::size_t size) noexcept {
    if (size <= fine_max) {
        const std::size_t index = (size - 1) / fine_grain;
        return {index, (index + 1) * fine_grain};
    }
    const std::size_t step = (size - fine_max - 1) / coarse_grain;
    return {fine_classes + step, fine_max + (step + 1) * coarse_grain};
}

// No destructor: a thread's end must not race with frames that other threads still free. The run
// loop drains.
struct thread_cache {
    block* free[classes];
    std::size_t bytes;
};
constinit thread_local thread_cache cache = {};

} // namespace

[[gnu::noinline]] void* frame_pool::allocate(std::size_t size) {
    if (size > coarse_max) {
        return ::operator new(size);
    }
    const size_class wanted = class_of(size);
    block* kept = cache.free[wanted.index];
    if (kept == nullptr) {
        return ::operator new(wanted.size);
    }
    cache.free[wanted.index] = kept->next;
    cache.bytes -= wanted.size;
    return kept;
}

[[gnu::noinline]] void frame_pool::deallocate(void* memory, std::size_t size) noexcept {
    if (size > coarse_max) {
        ::operator delete(memory);
        return;
    }
    const size_class freed = class_of(size);
    if (cache.bytes + freed.size > bytes_max) {
        ::operator delete(memory);
        return;
    }
    cache.free[freed.index] = ::new (memory) block{cache.free[freed.index]};
    cache.bytes += freed.size;
}

[[gnu::noinline]] void frame_pool::drain() noexcept {
    for (block*& head : cache.free) {
        while (head != nullptr) {
            block* next = head->next;
            ::operator delete(head);
            head = next;
        }
    }
    cache.bytes = 0;
}

[[gnu::noinline]] std::size_t frame_pool::kept() noexcept {
    return cache.bytes;
}

#else

[[gnu::noinline]] void* frame_pool::allocate(std::size_t size) {
    return ::operator new(size);
}

[[gnu::noinline]] void frame_pool::deallocate(void* memory, std::size_t) noexcept {
    ::operator delete(memory);
}

void frame_pool::drain() noexcept {}

std::size_t frame_pool::kept() noexcept {
    return 0;
}

#endif

} // namespace gyre::inline v0::detail
