// What the benchmarks compute: medians, percentiles, verdicts, the scales of plots, and that a page
// made of a file is the page of the run that wrote it.

#include "beside/report.hpp"
#include "beside/results.hpp"
#include "compare/plots.hpp"
#include "compare/report.hpp"
#include "compare/results.hpp"
#include "compare/table.hpp"
#include "ipc/report.hpp"
#include "ipc/results.hpp"
#include "ipc/sides.hpp"
#include "ipc/wires.hpp"
#include "support/histogram.hpp"
#include "support/json.hpp"
#include "support/section.hpp"
#include "support/statistics.hpp"
#include "support/svg.hpp"

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using bench::compare::figure;
using bench::compare::ratio;

constexpr double none = std::numeric_limits<double>::quiet_NaN();

bench::compare::series series_of(std::string row, std::vector<double> cpu) {
    bench::compare::series made;
    made.row = std::move(row);
    for (figure which : {figure::rate, figure::p50, figure::p99, figure::p999, figure::memory}) {
        made.of(which) = cpu;
    }
    made.of(figure::cpu) = std::move(cpu);
    made.of(figure::entries) = {2};
    return made;
}

bench::compare::results two_servers() {
    bench::compare::results found;
    found.date = "2030-01-02";
    found.processor = "a \"processor\"";
    found.rounds = 3;
    found.warm_up = 0.1;
    found.duration = 0.8;
    found.rows = {
        {.key = "gyre-uring", .name = "gyre uring", .command = "echo_server"},
        {.key = "liburing", .name = "liburing by hand", .command = "uring_echo"},
        {.key = "libuv", .name = "libuv", .skipped = "it was not built"},
    };
    bench::compare::cell one;
    one.what = {.size = 16384, .connections = 1, .pipeline = 16};
    one.rows = {series_of("gyre-uring", {12, 11, 13}), series_of("liburing", {10, 10, none})};
    one.rows[1].failures = {"took too long"};
    found.cells = {one};
    return found;
}

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

} // namespace

TEST_SUITE_BEGIN("bench");

TEST_CASE("the median and the quartiles lie between the values they are next to") {
    bench::summary found = bench::summarize({4, 1, 3, 2});

    CHECK(found.median == doctest::Approx(2.5));
    CHECK(found.low == doctest::Approx(1.75));
    CHECK(found.high == doctest::Approx(3.25));
}

TEST_CASE("a figure that is none is left out, and ratios weigh alike whichever way they point") {
    CHECK(bench::taken({1, none, 3}) == std::vector<double>{1, 3});
    CHECK(bench::geometric_mean({2, 0.5}) == doctest::Approx(1));
    CHECK(std::isnan(bench::geometric_mean({})));
}

TEST_CASE("a percentile is known to one percent") {
    auto times = std::make_unique<bench::histogram>();
    for (std::uint64_t value = 1; value <= 100'000; ++value) {
        times->record(value);
    }

    CHECK(times->percentile(0.5) == doctest::Approx(50'000).epsilon(0.01));
    CHECK(times->percentile(0.999) == doctest::Approx(99'900).epsilon(0.01));
    CHECK(times->percentile(1) == 100'000);
}

TEST_CASE("JSON that was written is read again") {
    std::string text = "{\"a\":" + bench::json::list({1.5, none, -2e9}) +
                       ", \"b\": " + bench::json::string_literal("x\"\\y") + ",\"c\":[]}";

    auto value = bench::json::value::parse(text);

    std::vector<double> numbers = value["a"].numbers();
    REQUIRE(numbers.size() == 3);
    CHECK(numbers[0] == 1.5);
    CHECK(std::isnan(numbers[1]));
    CHECK(numbers[2] == -2e9);
    CHECK(value["b"].text() == "x\"\\y");
    CHECK(value["c"].items().empty());
    CHECK_THROWS_AS(static_cast<void>(value["d"]), std::runtime_error);
    for (std::string_view broken : {"{\"a\":1", "[1,]", "[1 2]", "{} {}", "[-]", "\"x", ""}) {
        CHECK_THROWS_AS(bench::json::value::parse(broken), std::runtime_error);
    }
}

TEST_CASE("an axis starts and ends at round numbers") {
    auto linear = bench::svg::scale::linear(37, 100, 300);
    CHECK(linear.ticks() == std::vector<double>{0, 10, 20, 30, 40});
    CHECK(linear.at(0) == doctest::Approx(100));
    CHECK(linear.at(20) == doctest::Approx(200));
    CHECK(linear.at(50) == doctest::Approx(300)); // no further than its end

    auto decades = bench::svg::scale::logarithmic(30, 2000, 0, 300);
    CHECK(decades.ticks() == std::vector<double>{10, 100, 1000, 10000});
    CHECK(decades.at(100) == doctest::Approx(100));
    CHECK(bench::svg::scale::logarithmic(0, 1, 0, 1).ticks().size() < 12);
}

TEST_CASE("a ratio above 1 is a loss, whichever way is better, and noise is no verdict") {
    auto slow = series_of("gyre-uring", {12, 11, 13});
    auto fast = series_of("liburing", {10, 10, 10});
    auto noisy = series_of("poll", {9, 12, 16});

    CHECK(bench::compare::compare(slow, fast, figure::cpu).says == ratio::verdict::worse);
    CHECK(bench::compare::compare(slow, fast, figure::cpu).median == doctest::Approx(1.2));
    CHECK(bench::compare::compare(slow, fast, figure::rate).says == ratio::verdict::better);
    CHECK(bench::compare::compare(fast, slow, figure::rate).median == doctest::Approx(1.2));
    CHECK(bench::compare::compare(slow, noisy, figure::cpu).says == ratio::verdict::level);
    CHECK(bench::compare::compare(slow, fast, figure::entries).says == ratio::verdict::level);
    CHECK(bench::compare::compare(slow, {}, figure::cpu).says == ratio::verdict::none);
}

TEST_CASE("a page made of a file is the page of the run that wrote it") {
    std::string written = bench::compare::to_json(two_servers());
    bench::compare::results read = bench::compare::from_json(written);

    std::string page = bench::compare::report(read, "performance");

    CHECK(bench::compare::to_json(read) == written);
    CHECK(bench::compare::report(two_servers(), "performance") == page);
    CHECK(contains(page, "1.15 times the CPU per request"));
    CHECK(contains(page, "16 KiB, 1 connection, pipeline 16"));
    CHECK(contains(page, "**libuv** was not measured: it was not built."));
    CHECK(contains(page, "1 turn failed"));
    CHECK(contains(bench::compare::heading(read), "a \"processor\""));
    CHECK(contains(bench::compare::table(read, read.cells[0]), "FAILED 1 time: took too long"));
    for (const bench::compare::plot& each : bench::compare::plots(read)) {
        CHECK(contains(page, "performance-" + each.name + ".svg"));
        CHECK_FALSE(contains(each.svg, "nan"));
    }
}

TEST_CASE("a section of a page is replaced where it is, and the rest stays") {
    const std::string page = "# Page\n\nwords\n";
    const std::string once = bench::with_section(page, "ipc", "one\n");
    const std::string other = bench::with_section(once, "other", "two\n");
    const std::string twice = bench::with_section(other, "ipc", "three\n");

    CHECK(bench::section_of(page, "ipc").empty());
    CHECK(once.starts_with(page));
    CHECK(contains(bench::section_of(once, "ipc"), "one\n"));
    CHECK(bench::section_of(other, "ipc") == bench::section_of(once, "ipc"));
    CHECK(bench::section_of(twice, "other") == bench::section_of(other, "other"));
    CHECK(contains(twice, "three\n"));
    CHECK_FALSE(contains(twice, "one\n"));
    CHECK(twice.starts_with(page));
    CHECK(twice.find("three") < twice.find("two"));
}

TEST_CASE("the section on local IPC is made of the file, and says who wins") {
    using bench::ipc::pattern;
    using bench::ipc::way;
    using bench::ipc::wire;
    const auto row = [](wire over, std::vector<double> figures) {
        bench::ipc::row made = {.over = over, .how = way::gyre_uring};
        made.all.of(figure::rate) = figures;
        made.all.of(figure::p50) = figures;
        made.all.of(figure::p99) = figures;
        made.all.of(figure::cpu) = figures;
        made.first_cpu = figures;
        made.second_cpu = std::move(figures);
        return made;
    };
    bench::ipc::results found;
    found.rounds = 3;
    found.facts = {{"date", "2030-01-02"}};
    found.cells = {
        {.what = pattern::round_trip,
         .size = 64,
         .rows = {row(wire::unix_stream, {10, 10, 10}), row(wire::tcp, {15, 16, 17})}},
        {.what = pattern::one_way,
         .size = 16384,
         .rows = {row(wire::unix_stream, {10, 10, none}), row(wire::tcp, {20, 21, 22})}},
        {.what = pattern::one_way,
         .size = 1048576,
         .rows = {row(wire::unix_stream, {10, 10, 10}), row(wire::tcp, {9, 10, 11})}},
    };
    found.cells[1].rows[0].all.failures = {"took too long"};

    const std::string written = bench::ipc::to_json(found);
    const bench::ipc::results read = bench::ipc::from_json(written);
    const std::string section = bench::ipc::section(read, "performance");

    CHECK(bench::ipc::to_json(read) == written);
    CHECK(bench::ipc::section(found, "performance") == section);
    CHECK(contains(section, "in 1 of 3 cases, are level in 1 and lose in 1."));
    CHECK(contains(section, "A round trip, gyre uring: 64 B: 1.60 (1.55 to 1.65)."));
    CHECK(contains(section, "16 KiB: 0.49 (0.48 to 0.49), the loser"));
    CHECK(contains(section, "1 MiB: 1.00 (0.95 to 1.06), level"));
    CHECK(contains(section, "| TCP loopback, gyre uring | 16.0 (15.5 to 16.5) |"));
    CHECK(contains(bench::ipc::tables(read), "TCP loopback, gyre uring"));
    for (const bench::compare::plot& each : bench::ipc::plots(read)) {
        CHECK(contains(section, "performance-ipc-" + each.name + ".svg"));
        CHECK_FALSE(contains(each.svg, "nan"));
    }
}

TEST_CASE("the section on a sample beside a server is made of the file, and says who loses") {
    const auto with = [](std::string row, std::vector<double> cpu, std::vector<double> rate) {
        bench::compare::series made = series_of(std::move(row), std::move(cpu));
        made.of(figure::rate) = std::move(rate);
        return made;
    };
    bench::beside::results found;
    found.rounds = 3;
    found.facts = {{"date", "2030-01-02"}};
    found.rows = {
        {.key = "gyre-uring", .name = "gyre uring", .command = "kv_server", .built_on = "gyre"},
        {.key = "gyre-epoll", .name = "gyre epoll", .skipped = "there is no such engine"},
        {.key = "redis", .name = "redis-server", .command = "redis", .built_on = "Redis 7"},
    };
    found.cells = {
        {.name = "GET",
         .rows =
             {with("gyre-uring", {2, 2, 2}, {100, 100, 100}),
              with("redis", {1, 1, 1}, {100, 90, 110})}},
        {.name = "SET",
         .rows =
             {with("gyre-uring", {2, 2, none}, {200, 200, none}),
              with("redis", {4, 4, 4}, {100, 100, 100})}},
    };
    found.cells[1].rows[0].failures = {"took too long"};

    const std::string written = bench::beside::to_json(found, "kv");
    const bench::beside::results read = bench::beside::from_json(written);
    const bench::beside::wording words = {
        .name = "kv", .title = "Keys", .question = "How much?", .remarks = "By hand."
    };
    const std::string section = bench::beside::section(read, words, "performance");

    CHECK(bench::beside::to_json(read, "kv") == written);
    CHECK(bench::beside::section(found, words, "performance") == section);
    CHECK(contains(
        section,
        "- **gyre uring** beside redis-server: CPU per request 1.00 (worse in 1 of 2 cases, level "
        "in 0, better in 1); throughput 0.71 (worse in 0 of 2 cases, level in 1, better in 1).\n"
    ));
    CHECK(contains(section, "- gyre epoll was skipped: there is no such engine.\n"));
    CHECK(contains(section, "gyre uring FAILED 1 times, at first: took too long.\n"));
    CHECK(contains(section, "| redis-server | 4.00 (4.00 to 4.00) | 100 (100 to 100) | 0.0400 % |")
    );
    CHECK(contains(section, "[performance-kv.json](performance-kv.json)"));
    CHECK(contains(bench::beside::tables(read), "redis-server"));
}
