// A sample of gyre beside a well-known server that does the same: what differs from one such
// benchmark to another, and what does not.
#pragma once

#include "beside/report.hpp"
#include "compare/results.hpp"
#include "support/process.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace bench::beside {

/// What a load came to.
struct outcome {
    double requests = 0;
    double rate = 0; ///< Requests in a second.
    double p50 = 0;  ///< Microseconds.
    double p99 = 0;
};

class contest {
public:
    contest() = default;
    contest(const contest&) = delete;
    contest& operator=(const contest&) = delete;
    virtual ~contest() = default;

    [[nodiscard]] virtual wording words() const = 0;

    /// gyre's engines, and last the server that they stand beside.
    [[nodiscard]] virtual std::vector<compare::server_row> rows() const = 0;
    [[nodiscard]] virtual std::vector<std::string> cells() const = 0;

    /// What starts that server on a port of 127.0.0.1. What it writes goes into `folder`.
    [[nodiscard]] virtual command
    server(const compare::server_row& row, unsigned port, const std::string& folder) const = 0;

    /// Warms it up, and throws if it does not answer as it should.
    virtual void try_out(unsigned port, std::optional<int> cpu) const = 0;

    /// Loads it for about so many seconds.
    [[nodiscard]] virtual outcome
    load(std::size_t cell, unsigned port, double seconds, std::optional<int> cpu) const = 0;
};

/// gyre's engines as rows, for a sample of that name.
std::vector<compare::server_row> engines_of(const std::string& sample);

/// Where a program of that name lies; empty if there is none.
std::string path_of(const std::string& program);

/// The program: reads the options, measures, prints and writes.
int run(const contest& chosen, int argc, char** argv);

} // namespace bench::beside
