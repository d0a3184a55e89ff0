#pragma once

#include <cstdint>

/// The kernel's io_uring numbers that gyre uses, each with the kernel that brought it. They are our
/// own constants because the headers of liburing 2.3 lack the newer ones and because enumerators
/// cannot be tested for by the preprocessor.
namespace gyre::inline v0::detail::uapi {

// Opcodes.
inline constexpr std::uint8_t op_nop = 0;           // 5.1
inline constexpr std::uint8_t op_readv = 1;         // 5.1
inline constexpr std::uint8_t op_writev = 2;        // 5.1
inline constexpr std::uint8_t op_poll_add = 6;      // 5.1
inline constexpr std::uint8_t op_sendmsg = 9;       // 5.3
inline constexpr std::uint8_t op_recvmsg = 10;      // 5.3
inline constexpr std::uint8_t op_timeout = 11;      // 5.4
inline constexpr std::uint8_t op_accept = 13;       // 5.5
inline constexpr std::uint8_t op_async_cancel = 14; // 5.5
inline constexpr std::uint8_t op_connect = 16;      // 5.5
inline constexpr std::uint8_t op_openat = 18;       // 5.6
inline constexpr std::uint8_t op_close = 19;        // 5.6
inline constexpr std::uint8_t op_statx = 21;        // 5.6
inline constexpr std::uint8_t op_read = 22;         // 5.6
inline constexpr std::uint8_t op_write = 23;        // 5.6
inline constexpr std::uint8_t op_send = 26;         // 5.6
inline constexpr std::uint8_t op_recv = 27;         // 5.6
inline constexpr std::uint8_t op_openat2 = 28;      // 5.6
inline constexpr std::uint8_t op_splice = 30;       // 5.7
inline constexpr std::uint8_t op_tee = 33;          // 5.8
inline constexpr std::uint8_t op_shutdown = 34;     // 5.11
inline constexpr std::uint8_t op_msg_ring = 40;     // 5.18
inline constexpr std::uint8_t op_socket = 45;       // 5.19
inline constexpr std::uint8_t op_sendmsg_zc = 48;   // 6.1
inline constexpr std::uint8_t op_futex_wait = 51;   // 6.7
inline constexpr std::uint8_t op_futex_wake = 52;   // 6.7
inline constexpr std::uint8_t op_bind = 56;         // 6.11
inline constexpr std::uint8_t op_listen = 57;       // 6.11
inline constexpr unsigned opcode_count = 64;        // 6.18 has 0 to 62

// io_uring_params.flags.
inline constexpr std::uint32_t setup_cqsize = 1U << 3;         // 5.5
inline constexpr std::uint32_t setup_clamp = 1U << 4;          // 5.6
inline constexpr std::uint32_t setup_submit_all = 1U << 7;     // 5.18
inline constexpr std::uint32_t setup_coop_taskrun = 1U << 8;   // 5.19
inline constexpr std::uint32_t setup_taskrun_flag = 1U << 9;   // 5.19
inline constexpr std::uint32_t setup_single_issuer = 1U << 12; // 6.0
inline constexpr std::uint32_t setup_defer_taskrun = 1U << 13; // 6.1
inline constexpr std::uint32_t setup_no_sqarray = 1U << 16;    // 6.6

// io_uring_params.features.
inline constexpr std::uint32_t feat_nodrop = 1U << 1;        // 5.5
inline constexpr std::uint32_t feat_submit_stable = 1U << 2; // 5.5
inline constexpr std::uint32_t feat_fast_poll = 1U << 5;     // 5.7
inline constexpr std::uint32_t feat_ext_arg = 1U << 8;       // 5.11
inline constexpr std::uint32_t feat_min_timeout = 1U << 15;  // 6.12
inline constexpr std::uint32_t feat_no_iowait = 1U << 17;    // 6.15

// io_uring_enter(2) flags.
inline constexpr std::uint32_t enter_getevents = 1U << 0;       // 5.1
inline constexpr std::uint32_t enter_ext_arg = 1U << 3;         // 5.11
inline constexpr std::uint32_t enter_registered_ring = 1U << 4; // 5.18
inline constexpr std::uint32_t enter_abs_timer = 1U << 5;       // 6.12
inline constexpr std::uint32_t enter_no_iowait = 1U << 7;       // 6.15

// Flags in the submission queue ring.
inline constexpr std::uint32_t sq_cq_overflow = 1U << 1; // 5.8

// io_uring_register(2) opcodes.
inline constexpr unsigned register_probe = 8;          // 5.6
inline constexpr unsigned register_send_msg_ring = 31; // 6.13

// io_uring_sqe.flags.
inline constexpr std::uint8_t sqe_async = 1U << 4; // 5.6

// io_uring_sqe.ioprio of socket operations.
inline constexpr std::uint16_t recvsend_poll_first = 1U << 0; // 5.19
inline constexpr std::uint16_t accept_dontwait = 1U << 1;     // 6.10
inline constexpr std::uint16_t accept_poll_first = 1U << 2;   // 6.10

// io_uring_sqe.cancel_flags of IORING_OP_ASYNC_CANCEL.
inline constexpr std::uint32_t cancel_all = 1U << 0;       // 5.19
inline constexpr std::uint32_t cancel_fd = 1U << 1;        // 5.19
inline constexpr std::uint32_t cancel_any = 1U << 2;       // 5.19
inline constexpr std::uint32_t cancel_user_data = 1U << 4; // 6.6
inline constexpr std::uint32_t cancel_op = 1U << 5;        // 6.6

// io_uring_cqe.flags.
inline constexpr std::uint32_t cqe_f_more = 1U << 1; // 5.13

} // namespace gyre::inline v0::detail::uapi
