#include "compare/plots.hpp"

#include "compare/results.hpp"
#include "support/statistics.hpp"
#include "support/svg.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace bench::compare {

namespace {

// A panel shows one case: the names of the servers, one below the other, and what belongs to each
// right of it. Panels stand in rows of as many as there are counts of connections.
constexpr double names_width = 108;
constexpr double axis_width = 168;
constexpr double values_width = 54;
constexpr double panel_width = names_width + axis_width + values_width;
constexpr double header_height = 30;
constexpr double footer_height = 24;
constexpr double row_height = 15;
constexpr double margin = 14;
constexpr double title_height = 44;

constexpr const char* grid_color = "#dddddd";
constexpr const char* ink = "#222222";
constexpr const char* pale_ink = "#666666";

// gyre is blue, what was written by hand brown, the libraries are green.
const char* color_of(const std::string& key) {
    static constexpr std::array<std::pair<const char*, const char*>, 9> colors = {{
        {"gyre-uring", "#0b4f9c"},
        {"gyre-epoll", "#3d87d9"},
        {"gyre-blocking", "#8fbdf0"},
        {"liburing", "#7a3410"},
        {"epoll", "#b05a1e"},
        {"threads", "#d48a45"},
        {"poll", "#e6b98a"},
        {"asio", "#2f7040"},
        {"libuv", "#7fb98a"},
    }};
    for (const auto& [name, color] : colors) {
        if (key == name) {
            return color;
        }
    }
    return "#888888";
}

std::size_t columns_of(const results& found) {
    std::vector<unsigned> counts;
    for (const cell& each : found.cells) {
        if (std::find(counts.begin(), counts.end(), each.what.connections) == counts.end()) {
            counts.push_back(each.what.connections);
        }
    }
    return std::max<std::size_t>(counts.size(), 1);
}

// Short enough for an axis: 1500000 is "1.5M".
std::string short_number(double value) {
    for (auto [unit, name] : {std::pair(1e6, "M"), std::pair(1e3, "k")}) {
        if (value >= unit * 0.9999) {
            double scaled = value / unit;
            std::string text = shown(scaled);
            // As few digits as an axis needs.
            while (text.find('.') != std::string::npos && (text.back() == '0' || text.back() == '.')
            ) {
                bool dot = text.back() == '.';
                text.pop_back();
                if (dot) {
                    break;
                }
            }
            return text + name;
        }
    }
    std::string text = shown(value);
    while (text.find('.') != std::string::npos && (text.back() == '0' || text.back() == '.')) {
        text.pop_back();
    }
    return text.empty() ? "0" : text;
}

// Microseconds in the unit that suits them.
std::string short_time(double microseconds) {
    if (microseconds >= 999'999) {
        return short_number(microseconds / 1e6) + " s";
    }
    return microseconds >= 999.9 ? short_number(microseconds / 1e3) + " ms"
                                 : short_number(microseconds) + " us";
}

class panels {
public:
    panels(const results& found, const std::string& title, const std::string& key)
        : found_(found), rows_(found.measured()), columns_(columns_of(found)),
          height_(header_height + row_height * static_cast<double>(rows_.size()) + footer_height),
          picture_(
              margin * 2 + panel_width * static_cast<double>(columns_),
              title_height + margin +
                  height_ * static_cast<double>(line_of(found.cells.size() + columns_ - 1)),
              title
          ) {
        picture_.text({margin, 20}, title, {.size = 15, .bold = true});
        picture_.text({margin, 36}, key, {.size = 11, .color = pale_ink});
    }

    /// Calls `make_scale(cell, start, end)` for the axis of a panel and `draw_row(scale, y, row,
    /// series)` for what stands right of a name, `y` being the middle of it.
    template <typename MakeScale, typename DrawRow>
    std::string draw(MakeScale make_scale, DrawRow draw_row) {
        for (std::size_t index = 0; index < found_.cells.size(); ++index) {
            const cell& each = found_.cells[index];
            double left = margin + panel_width * static_cast<double>(index % columns_);
            double top = title_height + height_ * static_cast<double>(line_of(index));
            picture_.text({left, top + 18}, each.what.name(), {.size = 11, .bold = true});
            double start = left + names_width;
            svg::scale axis = make_scale(each, start, start + axis_width);
            for (std::size_t row = 0; row < rows_.size(); ++row) {
                double y = row_middle(top, row);
                picture_.text(
                    {start - 6, y + 4}, rows_[row]->name, {.size = 10, .where = svg::anchor::end}
                );
                const series* values = each.find(rows_[row]->key);
                if (values == nullptr || !values->has(figure::cpu) || !values->has(figure::p50)) {
                    picture_.text({start + 4, y + 4}, "failed", {.size = 10, .color = pale_ink});
                } else {
                    draw_row(axis, y, *rows_[row], *values);
                }
            }
        }
        return picture_.finish();
    }

    /// The lines behind a panel, and the figures below them.
    template <typename Name>
    void draw_ticks(const cell& each, const svg::scale& axis, Name name) {
        auto index = static_cast<std::size_t>(&each - found_.cells.data());
        double top = title_height + height_ * static_cast<double>(line_of(index)) + header_height;
        double bottom = top + row_height * static_cast<double>(rows_.size());
        for (double tick : axis.ticks()) {
            picture_.line({axis.at(tick), top - 4}, {axis.at(tick), bottom}, grid_color);
            picture_.text(
                {axis.at(tick), bottom + 11},
                name(tick),
                {.size = 9, .color = pale_ink, .where = svg::anchor::middle}
            );
        }
    }

    svg::drawing& picture() { return picture_; }

private:
    [[nodiscard]] std::size_t line_of(std::size_t index) const { return index / columns_; }

    static double row_middle(double top, std::size_t row) {
        return top + header_height + row_height * (static_cast<double>(row) + 0.5) - 2;
    }

    const results& found_;
    std::vector<const server_row*> rows_;
    std::size_t columns_;
    double height_;
    svg::drawing picture_;
};

// The most of a figure in a case, quartiles included; 1 where there is none.
double most_of(const cell& each, figure which) {
    double most = 0;
    for (const series& row : each.rows) {
        most = row.has(which) ? std::max(most, row.spread(which).high) : most;
    }
    return most > 0 ? most : 1;
}

std::string bars(const results& found, figure which, const std::string& title) {
    panels all(
        found, title, "bars: medians over the rounds; whiskers: quartiles; each case has its scale"
    );
    return all.draw(
        [&](const cell& each, double start, double end) {
            svg::scale axis = svg::scale::linear(most_of(each, which), start, end);
            all.draw_ticks(each, axis, short_number);
            return axis;
        },
        [&](const svg::scale& axis, double y, const server_row& row, const series& values) {
            svg::drawing& picture = all.picture();
            summary spread = values.spread(which);
            double start = axis.at(0);
            double end = axis.at(spread.median);
            picture.rectangle({start, y - 5}, {end - start, 10}, color_of(row.key));
            picture.line({axis.at(spread.low), y}, {axis.at(spread.high), y}, ink);
            for (double edge : {spread.low, spread.high}) {
                picture.line({axis.at(edge), y - 3}, {axis.at(edge), y + 3}, ink);
            }
            picture.text(
                {start + axis_width + 6, y + 4}, short_number(spread.median), {.size = 10}
            );
        }
    );
}

std::string latencies(const results& found, const std::string& title) {
    panels all(
        found,
        title,
        "from left to right: p50 (dot), p99 (stroke), p99.9 (end of the line); medians over the "
        "rounds; the number is p99"
    );
    return all.draw(
        [&](const cell& each, double start, double end) {
            double least = std::numeric_limits<double>::infinity();
            for (const series& row : each.rows) {
                least = row.has(figure::p50) ? std::min(least, row.median(figure::p50)) : least;
            }
            double most = most_of(each, figure::p999);
            least = std::isfinite(least) ? least : most;
            svg::scale axis = svg::scale::logarithmic(least, most, start, end);
            all.draw_ticks(each, axis, short_time);
            return axis;
        },
        [&](const svg::scale& axis, double y, const server_row& row, const series& values) {
            svg::drawing& picture = all.picture();
            double p50 = axis.at(values.median(figure::p50));
            double p99 = axis.at(values.median(figure::p99));
            double p999 = axis.at(values.median(figure::p999));
            const char* color = color_of(row.key);
            picture.line({p50, y}, {p999, y}, color, 1.5);
            picture.circle({p50, y}, 4, color);
            picture.line({p99, y - 5}, {p99, y + 5}, color, 3);
            picture.text(
                {axis.at(axis.ticks().back()) + 6, y + 4},
                short_time(values.median(figure::p99)),
                {.size = 10}
            );
        }
    );
}

} // namespace

std::vector<plot> plots(const results& found) {
    std::vector<plot> made;
    auto add = [&made](const char* name, const std::string& title, auto draw) {
        made.push_back({.name = name, .title = title, .svg = draw(title)});
    };
    add("cpu", "TCP echo: server CPU per request, microseconds (less is better)", [&](auto& title) {
        return bars(found, figure::cpu, title);
    });
    add("throughput", "TCP echo: requests per second (more is better)", [&](auto& title) {
        return bars(found, figure::rate, title);
    });
    add("latency", "TCP echo: latency, logarithmic (less is better)", [&](auto& title) {
        return latencies(found, title);
    });
    return made;
}

} // namespace bench::compare
