#include "runtime/cpu_features.h"

namespace seqrisk {

#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))

bool cpu_has_avx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2");
}

bool cpu_has_avx512() {
  __builtin_cpu_init();
  return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

bool cpu_has_neon() {
  return false;
}

#else

bool cpu_has_avx2() {
  return false;
}
bool cpu_has_avx512() {
  return false;
}
#if defined(__aarch64__) || defined(_M_ARM64)
bool cpu_has_neon() {
  return true;
}
#else
bool cpu_has_neon() {
  return false;
}
#endif

#endif

}  // namespace seqrisk
