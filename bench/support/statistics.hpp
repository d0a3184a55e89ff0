// What a handful of repeated measurements say together.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
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

/// The figures without those that are none: a run that failed leaves such a one.
inline std::vector<double> taken(const std::vector<double>& values) {
    std::vector<double> left;
    for (double value : values) {
        if (std::isfinite(value)) {
            left.push_back(value);
        }
    }
    return left;
}

/// What ratios have in common; not a number where there are none.
inline double geometric_mean(const std::vector<double>& ratios) {
    double sum = 0;
    for (double ratio : ratios) {
        sum += std::log(ratio);
    }
    return ratios.empty() ? std::numeric_limits<double>::quiet_NaN()
                          : std::exp(sum / static_cast<double>(ratios.size()));
}

} // namespace bench
