// A unit test framework of one page: TEST registers, CHECK and CHECK_EQUAL report and go on, main runs all.
#pragma once

#include <cstdio>
#include <iostream>
#include <vector>

namespace check {

struct Test {
  const char* name;
  void (*body)();
};
inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}
inline int failures = 0;

inline int add(const char* name, void (*body)()) {
  tests().push_back({name, body});
  return 0;
}

inline int run_all() {
  int failed = 0;
  for (const Test& test : tests()) {
    failures = 0;
    test.body();
    std::printf("%s %s\n", failures == 0 ? "ok    " : "FAILED", test.name);
    if (failures != 0) failed++;
  }
  std::printf("%zu passed, %d failed\n", tests().size() - static_cast<size_t>(failed), failed);
  return failed == 0 ? 0 : 1;
}

}  // namespace check

#define CHECK_JOIN2(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN2(a, b)
#define TEST_NAMED(id, name)                                      \
  static void id();                                               \
  static const int CHECK_JOIN(id, _added) = check::add(name, id); \
  static void id()
#define TEST(name) TEST_NAMED(CHECK_JOIN(test_, __LINE__), name)

#define CHECK(condition)                                            \
  do {                                                              \
    if (!(condition)) {                                             \
      std::printf("  %s:%d: %s\n", __FILE__, __LINE__, #condition); \
      check::failures++;                                            \
    }                                                               \
  } while (false)

#define CHECK_EQUAL(actual, expected)                                                                                 \
  do {                                                                                                                \
    const auto check_actual = (actual);                                                                               \
    const auto check_expected = (expected);                                                                           \
    if (!(check_actual == check_expected)) {                                                                          \
      std::cout << "  " << __FILE__ << ":" << __LINE__ << ": " << #actual << " is " << +check_actual << ", expected " \
                << +check_expected << "\n";                                                                           \
      check::failures++;                                                                                              \
    }                                                                                                                 \
  } while (false)
