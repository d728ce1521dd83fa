// What the fuzz drivers share: each is one function for libFuzzer, which gives it any bytes, in a buffer of exactly
// their size, so that the address sanitizer sees a read past the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

// A broken promise ends the run like a crash, and libFuzzer keeps the input.
#define PROMISE(condition)                                                           \
  do {                                                                               \
    if (!(condition)) {                                                              \
      std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                  \
    }                                                                                \
  } while (false)
