// Prints the name of each feature that can be switched off, one a line: `.ci/full` tries them all.

#include <gyre/ring/features.hpp>

#include <cstdio>
#include <string>

int main() {
    for (unsigned index = 0; index < gyre::feature_count; ++index) {
        std::puts(std::string(gyre::feature_name(static_cast<gyre::feature>(index))).c_str());
    }
}
