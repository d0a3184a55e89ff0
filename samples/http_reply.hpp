// http_reply.hpp: the head of an answer in HTTP/1.1 (RFC 9110, RFC 9112).
#pragma once

#include "http_request.hpp"

#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>

namespace samples {

inline std::string_view reason_of(int status) noexcept {
    switch (status) {
    case 200:
        return "OK";
    case 206:
        return "Partial Content";
    case 304:
        return "Not Modified";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 411:
        return "Length Required";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 416:
        return "Range Not Satisfiable";
    case 431:
        return "Request Header Fields Too Large";
    case 501:
        return "Not Implemented";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Internal Server Error";
    }
}

/// The head of an answer, without the empty line that ends it.
inline std::string
head_of(int status, std::uint64_t length, bool keep_alive, std::time_t now = std::time(nullptr)) {
    std::string head = "HTTP/1.1 " + std::to_string(status) + ' ';
    head += reason_of(status);
    head += "\r\nDate: " + http_date(now);
    if (status != 304) {
        head += "\r\nContent-Length: " + std::to_string(length);
    }
    head += keep_alive ? "\r\nConnection: keep-alive\r\n" : "\r\nConnection: close\r\n";
    return head;
}

/// An answer that says no more than its status. `more` are header lines of its own.
inline std::string status_reply(int status, const http_request& asked, std::string_view more = {}) {
    const std::string body = status == 304 ? "" : std::string(reason_of(status)) + "\n";
    std::string reply = head_of(status, body.size(), asked.keep_alive);
    reply += more;
    if (status == 405) {
        reply += "Allow: GET, HEAD\r\n";
    }
    reply += "\r\n";
    if (!asked.head_only) {
        reply += body;
    }
    return reply;
}

} // namespace samples
