// What a handful of repeated measurements say together.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace bench {

struct summary {
    double median = 0;
    double low = 0;  // the lower quartile
    double high = 0; // the upper quartile
};

inline double quantile(const std::vector<double>& sorted, double fraction) {
    double position = fraction * static_cast<double>(sorted.size() - 1);
    auto below = static_cast<std::size_t>(position);
    std::size_t above = std::min(below + 1, sorted.size() - 1);
    double weight = position - static_cast<double>(below);
    return sorted[below] * (1 - weight) + sorted[above] * weight;
}

inline summary summarize(std::vector<double> values) {
    if (values.empty()) {
        return {};
    }
    std::sort(values.begin(), values.end());
    return {
        .median = quantile(values, 0.5),
        .low = quantile(values, 0.25),
        .high = quantile(values, 0.75),
    };
}

} // namespace bench
