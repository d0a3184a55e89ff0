// Any bytes as received ancillary data: nothing outside them is read, each item is of one kind at
// most, and each descriptor is handed out once.

#include <gyre/net/ancillary.hpp>
#include <gyre/operation/buffer.hpp>
#include <gyre/ring/domain.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

namespace {

void expect(bool holds) {
    if (!holds) {
        std::abort();
    }
}

constexpr std::size_t capacity = 512;

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span(data, size)); // Memory of just that size.
    std::size_t items = 0;
    for (const gyre::control_item& item : gyre::control_items(bytes)) {
        ++items;
        expect(item.bytes().data() >= bytes.data());
        expect(item.bytes().data() + item.bytes().size() <= bytes.data() + bytes.size());
        const int readings = item.packet().has_value() + item.hop_limit().has_value() +
                             item.traffic_class().has_value() + item.timestamp().has_value() +
                             item.segment_size().has_value() + item.dropped().has_value() +
                             item.original_destination().has_value() + item.error().has_value() +
                             item.credentials().has_value() +
                             (item.descriptor_count() != 0 ? 1 : 0);
        expect(readings <= 1);
    }
    expect(items <= size / 16);

    gyre::control_buffer<capacity> buffer;
    gyre::detail::message_header message;
    buffer.offer(message);
    const std::size_t stored = std::min(size, capacity);
    if (stored != 0) {
        std::memcpy(message.control, data, stored);
    }
    buffer.accept(gyre::detail::kernel_domain(), stored, 0);
    std::size_t descriptors = buffer.descriptor_count();
    expect(descriptors <= capacity / sizeof(int));
    for (; buffer.take_descriptor().release() >= 0; --descriptors) {
        expect(descriptors != 0);
    }
    expect(descriptors == 0 && buffer.descriptor_count() == 0);
    while (buffer.take_process().release() >= 0) {
    }
    return 0; // Nothing is left for it to close.
}
