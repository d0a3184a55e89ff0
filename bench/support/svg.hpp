// Drawings as SVG, and the scales of their axes.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace bench::svg {

/// Maps a figure to a place on an axis, evenly or by its logarithm.
class scale {
public:
    /// From 0 to a round number above `most`.
    static scale linear(double most, double start, double end) {
        double step = step_for(most);
        int last = std::max(static_cast<int>(std::ceil(most / step)), 1);
        scale made(0, step * last, start, end, false);
        for (int tick = 0; tick <= last; ++tick) {
            made.ticks_.push_back(step * tick);
        }
        return made;
    }

    /// From a power of ten below `least` to one above `most`, which is above 0. No more than nine
    /// of them, so that a `least` of 0 is none that reaches to the start.
    static scale logarithmic(double least, double most, double start, double end) {
        int first = static_cast<int>(std::floor(std::log10(std::max(least, most / 1e9))));
        int last = std::max(static_cast<int>(std::ceil(std::log10(most))), first + 1);
        scale made(first, last, start, end, true);
        for (int power = first; power <= last; ++power) {
            made.ticks_.push_back(std::pow(10.0, power));
        }
        return made;
    }

    [[nodiscard]] double at(double figure) const {
        double place = logarithmic_ ? std::log10(figure) : figure;
        double part = std::clamp((place - first_) / (last_ - first_), 0.0, 1.0);
        return start_ + part * (end_ - start_);
    }

    [[nodiscard]] const std::vector<double>& ticks() const { return ticks_; }

private:
    scale(double first, double last, double start, double end, bool logarithmic)
        : first_(first), last_(last), start_(start), end_(end), logarithmic_(logarithmic) {}

    // 1, 2 or 5 times a power of ten, so that three to six of them reach `most`.
    static double step_for(double most) {
        double power = std::pow(10.0, std::floor(std::log10(std::max(most, 1e-9) / 3)));
        for (double factor : {1.0, 2.0, 5.0}) {
            if (most / (power * factor) <= 5) {
                return power * factor;
            }
        }
        return power * 10;
    }

    double first_;
    double last_;
    double start_;
    double end_;
    bool logarithmic_;
    std::vector<double> ticks_;
};

inline std::string escaped(std::string_view text) {
    std::string safe;
    for (char letter : text) {
        safe += letter == '&'   ? "&amp;"
                : letter == '<' ? "&lt;"
                : letter == '>' ? "&gt;"
                : letter == '"' ? "&quot;"
                                : std::string(1, letter);
    }
    return safe;
}

struct point {
    double x = 0;
    double y = 0;
};

enum class anchor { start, middle, end };

struct lettering {
    double size = 11;
    const char* color = "#222222";
    anchor where = anchor::start;
    bool bold = false;
};

class drawing {
public:
    drawing(double width, double height, std::string_view title) {
        text_ = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + number(width) +
                "\" height=\"" + number(height) + "\" viewBox=\"0 0 " + number(width) + " " +
                number(height) + "\" font-family=\"sans-serif\" role=\"img\">\n<title>" +
                escaped(title) + "</title>\n";
        rectangle({0, 0}, {width, height}, "#ffffff"); // pages may be dark
    }

    void rectangle(point corner, point size, std::string_view color) {
        text_ += "<rect" + attribute("x", corner.x) + attribute("y", corner.y) +
                 attribute("width", std::max(size.x, 0.0)) + attribute("height", size.y) +
                 fill(color) + "/>\n";
    }

    void line(point from, point to, std::string_view color, double width = 1) {
        text_ += "<line" + attribute("x1", from.x) + attribute("y1", from.y) +
                 attribute("x2", to.x) + attribute("y2", to.y) + " stroke=\"" + std::string(color) +
                 "\"" + attribute("stroke-width", width) + "/>\n";
    }

    void circle(point center, double radius, std::string_view color) {
        text_ += "<circle" + attribute("cx", center.x) + attribute("cy", center.y) +
                 attribute("r", radius) + fill(color) + "/>\n";
    }

    void text(point at, std::string_view words, const lettering& how) {
        static constexpr std::array<const char*, 3> anchors = {"start", "middle", "end"};
        text_ += "<text" + attribute("x", at.x) + attribute("y", at.y) +
                 attribute("font-size", how.size) + fill(how.color) + " text-anchor=\"" +
                 anchors.at(static_cast<std::size_t>(how.where)) + "\"" +
                 (how.bold ? " font-weight=\"bold\"" : "") + ">" + escaped(words) + "</text>\n";
    }

    [[nodiscard]] std::string finish() const { return text_ + "</svg>\n"; }

private:
    static std::string number(double value) {
        std::array<char, 32> text = {};
        std::snprintf(text.data(), text.size(), "%.1f", value);
        std::string whole = text.data();
        return whole.ends_with(".0") ? whole.substr(0, whole.size() - 2) : whole;
    }

    static std::string attribute(const char* name, double value) {
        return " " + std::string(name) + "=\"" + number(value) + "\"";
    }

    static std::string fill(std::string_view color) {
        return " fill=\"" + std::string(color) + "\"";
    }

    std::string text_;
};

} // namespace bench::svg
