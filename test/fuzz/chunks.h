// An input that is several datagrams: each has its length before it, in two bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "bytes.h"

template <class Take>
void each_chunk(std::span<const uint8_t> input, Take take) {
  while (input.size() >= 2) {
    const size_t length = std::min<size_t>(earshot::read_u16(input.data()), input.size() - 2);
    take(input.subspan(2, length));
    input = input.subspan(2 + length);
  }
}
