#pragma once

#define GYRE_VERSION_MAJOR 0
#define GYRE_VERSION_MINOR 1
#define GYRE_VERSION_PATCH 0
#define GYRE_VERSION_STRING "0.1.0"

namespace gyre::inline v0 {

/// The version of the headers a program was compiled with, as `MAJOR.MINOR.PATCH`.
inline constexpr const char* version = GYRE_VERSION_STRING;

} // namespace gyre::inline v0
