// The main program of every test executable: doctest's, and two things that ctest needs.
//
//   --gyre-list             prints every case, skipped ones too, as cmake/discover_cases.cmake
//   reads it
//   --gyre-case=SUITE: CASE runs this one case; exit code 77 when it, or a part of it, was skipped
//
// Each skip is said on stderr and, when GYRE_SKIP_LOG names a file, added to it, so that a skip is
// counted and never mistaken for a pass.

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr int exit_skipped = 77; // SKIP_RETURN_CODE in cmake/discover_cases.cmake

bool listing = false;
std::string wanted_case; // empty: whatever doctest's own filters choose
std::string running_case;
bool anything_skipped = false;

std::string full_name(const doctest::TestCaseData& test) {
    return std::string(test.m_test_suite) + ": " + test.m_name;
}

void record_skip(const std::string& name, std::string_view reason) {
    anything_skipped = true;
    std::string line = name + ": " + std::string(reason) + "\n";
    std::fprintf(stderr, "SKIP: %s", line.c_str());
    if (const char* path = std::getenv("GYRE_SKIP_LOG")) {
        // Cases run side by side: one line is one append.
        if (std::FILE* log = std::fopen(path, "a")) {
            std::fputs(line.c_str(), log);
            std::fclose(log);
        }
    }
}

class observer : public doctest::IReporter {
public:
    explicit observer(const doctest::ContextOptions&) {}

    void report_query(const doctest::QueryData& query) override {
        for (unsigned i = 0; listing && i < query.num_data; ++i) {
            const auto& test = *query.data[i];
            std::printf(
                "gyre_case([==[%s]==] [==[%s]==] %.0f)\n",
                test.m_test_suite,
                test.m_name,
                test.m_timeout
            );
        }
    }

    void test_case_start(const doctest::TestCaseData& test) override {
        running_case = full_name(test);
    }

    // doctest also reports here what its filters leave out; only a decorator sets m_skip.
    void test_case_skipped(const doctest::TestCaseData& test) override {
        if (test.m_skip && (wanted_case.empty() || wanted_case == full_name(test))) {
            record_skip(full_name(test), test.m_description ? test.m_description : "by decorator");
        }
    }

    void test_run_start() override {}
    void test_run_end(const doctest::TestRunStats&) override {}
    void test_case_reenter(const doctest::TestCaseData&) override {}
    void test_case_end(const doctest::CurrentTestCaseStats&) override {}
    void test_case_exception(const doctest::TestCaseException&) override {}
    void subcase_start(const doctest::SubcaseSignature&) override {}
    void subcase_end() override {}
    void log_assert(const doctest::AssertData&) override {}
    void log_message(const doctest::MessageData&) override {}
};

REGISTER_LISTENER("gyre", 1, observer);

// doctest splits a filter at commas; its wildcard for one character takes their place.
std::string as_filter(std::string_view text) {
    std::string filter(text);
    std::replace(filter.begin(), filter.end(), ',', '?');
    return filter;
}

} // namespace

namespace test {

/// Says that the running case, or a part of it, is skipped here, and why.
void skip(std::string_view reason);

void skip(std::string_view reason) {
    record_skip(running_case, reason);
}

} // namespace test

int main(int argc, char** argv) {
    // Our two options become doctest's own; the others pass through.
    std::vector<std::string> arguments;
    for (int i = 0; i < argc; ++i) {
        std::string_view argument = argv[i];
        if (argument == "--gyre-list") {
            listing = true;
            // Without a reporter only the observer speaks: it is a listener, and those always run.
            arguments.insert(
                arguments.end(), {"--list-test-cases", "--no-skip", "--reporters=none"}
            );
        } else if (argument.starts_with("--gyre-case=")) {
            wanted_case = argument.substr(argument.find('=') + 1);
            auto colon = wanted_case.find(": ");
            auto suite = wanted_case.substr(0, colon);
            auto name = colon == std::string::npos ? "" : wanted_case.substr(colon + 2);
            arguments.push_back("--test-suite=" + as_filter(suite));
            arguments.push_back("--test-case=" + as_filter(name));
        } else {
            arguments.emplace_back(argument);
        }
    }
    std::vector<const char*> pointers;
    pointers.reserve(arguments.size());
    for (const auto& argument : arguments) {
        pointers.push_back(argument.c_str());
    }

    doctest::Context context(static_cast<int>(pointers.size()), pointers.data());
    int failed = context.run();
    if (failed == 0 && anything_skipped && !wanted_case.empty()) {
        return exit_skipped;
    }
    return failed;
}
