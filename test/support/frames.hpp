// frames.hpp: whether the memory of coroutine frames is recycled in this build.
#pragma once

namespace test {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool recycles_frames = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool recycles_frames = false;
#else
inline constexpr bool recycles_frames = true;
#endif
#else
inline constexpr bool recycles_frames = true;
#endif

} // namespace test
