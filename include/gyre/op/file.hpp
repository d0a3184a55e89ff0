#pragma once

#include <gyre/op/raw_operation.hpp>
#include <gyre/operation/operation.hpp>

#include <cstdint>

struct open_how; // <linux/openat2.h>
struct statx;    // <sys/stat.h>

namespace gyre::inline v0::op {

/// What `openat` returns.
class [[nodiscard("co_await the operation")]] openat_operation
    : public detail::raw_operation<detail::uapi::op_openat, int> {
public:
    using awaiter = detail::operation_awaiter<openat_operation>;
    openat_operation(int directory, const char* path, int flags, unsigned mode) noexcept
        : raw_operation(
              {.fd = directory,
               .length = mode,
               .address = detail::address_of(path),
               .flags = static_cast<std::uint32_t>(flags) | close_on_exec}
          ) {}

private:
    friend awaiter;
    static constexpr const char* name = "openat";
    static constexpr std::uint32_t close_on_exec = 02000000;

    static void reclaim(std::int32_t result) noexcept { detail::close_untaken(result); }
};

/// What `openat2` returns.
class [[nodiscard("co_await the operation")]] openat2_operation
    : public detail::raw_operation<detail::uapi::op_openat2, int> {
public:
    using awaiter = detail::operation_awaiter<openat2_operation>;
    openat2_operation(int directory, const char* path, const ::open_how& how) noexcept
        : raw_operation(
              {.fd = directory,
               .length = how_size,
               .address = detail::address_of(path),
               .offset = detail::address_of(&how)}
          ) {}

private:
    friend awaiter;
    static constexpr const char* name = "openat2";
    static constexpr std::uint32_t how_size = 24;

    static void reclaim(std::int32_t result) noexcept { detail::close_untaken(result); }
};

/// What `statx` returns.
class [[nodiscard("co_await the operation")]] statx_operation
    : public detail::raw_operation<detail::uapi::op_statx, void> {
public:
    using awaiter = detail::operation_awaiter<statx_operation>;
    statx_operation(
        int directory, const char* path, int flags, unsigned mask, struct ::statx& into
    ) noexcept
        : raw_operation(
              {.fd = directory,
               .length = mask,
               .address = detail::address_of(path),
               .offset = detail::address_of(&into),
               .flags = static_cast<std::uint32_t>(flags)}
          ) {}

private:
    friend awaiter;
    static constexpr const char* name = "statx";
};

/// Opens a file, close-on-exec; closed again if nobody takes it. 5.6, openat(2).
///
/// \param flags  O_ values. \param mode  of a file that is made.
inline openat_operation
openat(int directory, const char* path, int flags, unsigned mode = 0) noexcept {
    return openat_operation(directory, path, flags, mode);
}

/// The same with rules for how the path is resolved, such as RESOLVE_BENEATH. Close-on-exec only if
/// `how.flags` says so. 5.6, openat2(2).
inline openat2_operation openat2(int directory, const char* path, const ::open_how& how) noexcept {
    return openat2_operation(directory, path, how);
}

/// Looks at a file; of an open one with an empty path and AT_EMPTY_PATH. 5.6, statx(2).
inline statx_operation
statx(int directory, const char* path, int flags, unsigned mask, struct ::statx& into) noexcept {
    return statx_operation(directory, path, flags, mask, into);
}

} // namespace gyre::inline v0::op
