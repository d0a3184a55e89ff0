#pragma once

#include <gyre/detail/assert.hpp>
#include <gyre/error.hpp>

#include <cstdint>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

namespace gyre::inline v0 {

template <class T>
class result;

/// Whether `T`, apart from reference and cv, is a `result`.
template <class T>
inline constexpr bool is_result_v = false;
template <class T>
inline constexpr bool is_result_v<T&> = is_result_v<T>;
template <class T>
inline constexpr bool is_result_v<T&&> = is_result_v<T>;
template <class T>
inline constexpr bool is_result_v<const T> = is_result_v<T>;
template <class T>
inline constexpr bool is_result_v<volatile T> = is_result_v<T>;
template <class T>
inline constexpr bool is_result_v<result<T>> = true;

/// What a result holds: `result_value_t<result<int>&>` is `int`.
template <class Result>
    requires is_result_v<Result>
using result_value_t = typename std::remove_cvref_t<Result>::value_type;

namespace detail {

/// Throws the `std::system_error` of `result::value()`.
[[noreturn]] void throw_bad_result(int code, const std::error_category& category);

/// What may become the value of a result: never an error, which has constructors of its own.
template <class U, class T>
concept result_value_source = std::is_convertible_v<U, T> && !is_result_v<U> &&
                              !std::is_error_code_enum_v<std::remove_cvref_t<U>> &&
                              !std::is_same_v<std::remove_cvref_t<U>, std::error_code>;

// Assignment may have to make a value where an error was, and cannot go back: see replace().
template <class T>
concept move_assignable = std::is_nothrow_move_constructible_v<T> && std::is_move_assignable_v<T>;

template <class T>
concept copy_assignable = std::is_nothrow_move_constructible_v<T> &&
                          std::is_copy_constructible_v<T> && std::is_copy_assignable_v<T>;

template <class T>
concept trivially_copy_assignable =
    std::is_trivially_copy_constructible_v<T> && std::is_trivially_copy_assignable_v<T> &&
    std::is_trivially_destructible_v<T>;

template <class T>
concept trivially_move_assignable =
    std::is_trivially_move_constructible_v<T> && std::is_trivially_move_assignable_v<T> &&
    std::is_trivially_destructible_v<T>;

} // namespace detail

/// The outcome of an operation: a `T`, or the `std::error_code` that says why there is none.
///
/// Owns its value; as movable, copyable and trivial as `T` is. Converts from a value, from a
/// `std::error_code` and from `errc`, so a function that yields it returns either.
///
/// \par Concurrency  A plain value: one thread at a time.
template <class T>
class [[nodiscard]] result {
    static_assert(
        std::is_object_v<T> && !std::is_array_v<T> && !std::is_const_v<T> && !std::is_volatile_v<T>,
        "a result holds an object or void; hand out a pointer instead of a reference"
    );
    static_assert(
        !std::is_same_v<T, std::error_code> && !std::is_error_code_enum_v<T>,
        "a result of an error could not tell its value from its error"
    );

public:
    using value_type = T;

    template <class U = T>
        requires detail::result_value_source<U, T>
    result(U&& value) noexcept(std::is_nothrow_constructible_v<T, U>)
        : value_(static_cast<T>(std::forward<U>(value))), code_(0) {}

    /// Checked in every build: a result without value and error would destroy memory as if it
    /// were a `T`.
    result(std::error_code error) noexcept : category_(&error.category()), code_(error.value()) {
        GYRE_ASSERT_ALWAYS(code_ != 0, "a result is made of a value or of an actual error");
    }

    result(errc error) noexcept : result(make_error_code(error)) {}

    // Each special member comes twice: trivial where T's own is, so that a result<size_t> travels
    // in registers, and by hand otherwise. A result of a move-only T has no copy at all.
    result(const result&)
        requires std::is_trivially_copy_constructible_v<T>
    = default;
    result(const result& other) noexcept(std::is_nothrow_copy_constructible_v<T>)
        requires(std::is_copy_constructible_v<T> && !std::is_trivially_copy_constructible_v<T>)
        : category_(other.category_if_error()), code_(other.code_) {
        if (code_ == 0) {
            ::new (static_cast<void*>(place())) T(other.value_);
        }
    }

    result(result&&)
        requires std::is_trivially_move_constructible_v<T>
    = default;
    result(result&& other) noexcept(std::is_nothrow_move_constructible_v<T>)
        requires(std::is_move_constructible_v<T> && !std::is_trivially_move_constructible_v<T>)
        : category_(other.category_if_error()), code_(other.code_) {
        if (code_ == 0) {
            ::new (static_cast<void*>(place())) T(std::move(other.value_));
        }
    }

    result& operator=(const result&)
        requires detail::trivially_copy_assignable<T>
    = default;
    result& operator=(const result& other)
        requires(detail::copy_assignable<T> && !detail::trivially_copy_assignable<T>)
    {
        if (code_ == 0 && other.code_ == 0) {
            value_ = other.value_;
        } else if (this != &other) {
            // The copy is made first: should it throw, this result keeps what it has.
            replace(result(other));
        }
        return *this;
    }

    result& operator=(result&&)
        requires detail::trivially_move_assignable<T>
    = default;
    result& operator=(result&& other) noexcept(std::is_nothrow_move_assignable_v<T>)
        requires(detail::move_assignable<T> && !detail::trivially_move_assignable<T>)
    {
        if (code_ == 0 && other.code_ == 0) {
            value_ = std::move(other.value_);
        } else if (this != &other) {
            replace(std::move(other));
        }
        return *this;
    }

    ~result()
        requires std::is_trivially_destructible_v<T>
    = default;
    ~result() {
        if (code_ == 0) {
            value_.~T();
        }
    }

    [[nodiscard]] bool has_value() const noexcept { return code_ == 0; }
    explicit operator bool() const noexcept { return code_ == 0; }

    /// The value, which must be there; checked in debug builds.
    [[nodiscard]] T& operator*() & noexcept {
        assert_value();
        return value_;
    }
    [[nodiscard]] const T& operator*() const& noexcept {
        assert_value();
        return value_;
    }
    [[nodiscard]] T&& operator*() && noexcept {
        assert_value();
        return std::move(value_);
    }
    [[nodiscard]] T* operator->() noexcept {
        assert_value();
        return place();
    }
    [[nodiscard]] const T* operator->() const noexcept {
        assert_value();
        return place();
    }

    /// The value; throws `std::system_error` with the error when there is none.
    T& value() & {
        throw_if_error();
        return value_;
    }
    const T& value() const& {
        throw_if_error();
        return value_;
    }
    T&& value() && {
        throw_if_error();
        return std::move(value_);
    }

    /// The error; an empty code when there is a value.
    [[nodiscard]] std::error_code error() const noexcept {
        return code_ == 0 ? std::error_code()
                          : std::error_code(static_cast<int>(code_), *category_);
    }

    /// The value, or `fallback` in its place.
    template <class U = T>
    [[nodiscard]] T value_or(U&& fallback) const& {
        return code_ == 0 ? value_ : static_cast<T>(std::forward<U>(fallback));
    }
    template <class U = T>
    [[nodiscard]] T value_or(U&& fallback) && {
        return code_ == 0 ? std::move(value_) : static_cast<T>(std::forward<U>(fallback));
    }

private:
    void assert_value() const noexcept {
        GYRE_ASSERT(code_ == 0, "the result holds an error: look before taking its value");
    }

    void throw_if_error() const {
        if (code_ != 0) {
            detail::throw_bad_result(static_cast<int>(code_), *category_);
        }
    }

    // Not std::construct_at and its kin: <memory> would take as long to compile as all the rest of
    // this header.
    T* place() noexcept { return __builtin_addressof(value_); }
    const T* place() const noexcept { return __builtin_addressof(value_); }

    [[nodiscard]] const std::error_category* category_if_error() const noexcept {
        return code_ == 0 ? nullptr : category_;
    }

    // At least one of the two holds an error, so one value at most is made or destroyed. Making it
    // may not throw: by then the category, whose place it takes, is gone.
    void replace(result&& other) noexcept {
        if (other.code_ == 0) {
            ::new (static_cast<void*>(place())) T(std::move(other.value_));
        } else {
            if (code_ == 0) {
                value_.~T();
            }
            category_ = other.category_;
        }
        code_ = other.code_;
    }

    // The category shares its place with the value, since only an error needs one: 16 bytes for
    // a result<size_t>, which the calling convention returns in two registers.
    // NOLINTBEGIN(readability-identifier-naming): they are private, which the check does not see.
    union {
        T value_;
        const std::error_category* category_;
    };
    // NOLINTEND(readability-identifier-naming)
    // 0: value_ lives; otherwise category_ and this are the error. As wide as a register, since
    // padding costs instructions where a result travels in two of them.
    std::intptr_t code_;
};

/// The outcome of an operation that yields nothing but success.
template <>
class [[nodiscard]] result<void> {
public:
    using value_type = void;

    result() noexcept = default;

    result(std::error_code error) noexcept : category_(&error.category()), code_(error.value()) {
        GYRE_ASSERT(code_ != 0, "a failed result is made of an actual error");
    }

    result(errc error) noexcept : result(make_error_code(error)) {}

    [[nodiscard]] bool has_value() const noexcept { return code_ == 0; }
    explicit operator bool() const noexcept { return code_ == 0; }

    void operator*() const noexcept {
        GYRE_ASSERT(code_ == 0, "the result holds an error: look before taking its value");
    }

    /// Throws `std::system_error` with the error unless it succeeded.
    void value() const {
        if (code_ != 0) {
            detail::throw_bad_result(static_cast<int>(code_), *category_);
        }
    }

    /// The error; an empty code on success.
    [[nodiscard]] std::error_code error() const noexcept {
        return code_ == 0 ? std::error_code()
                          : std::error_code(static_cast<int>(code_), *category_);
    }

private:
    const std::error_category* category_ = nullptr;
    std::intptr_t code_ = 0;
};

} // namespace gyre::inline v0
