#include "runtime/cpu_features.h"

// Asked of the processor itself: the compilers' own helpers are a part of their run-time libraries, which not all
// bring.
#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
#include <cpuid.h>
#define SEQRISK_CPUID
#endif

namespace seqrisk {

#ifdef SEQRISK_CPUID

namespace {

struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(unsigned leaf, unsigned part = 0) {
  Registers r;
  if (!__get_cpuid_count(leaf, part, &r.eax, &r.ebx, &r.ecx, &r.edx)) return {};
  return r;
}

// Registers that the operating system saves for threads; call only where it says that it does (OSXSAVE).
unsigned saved_registers() {
  unsigned low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

constexpr unsigned bits(auto... positions) {
  return (... | (1u << positions));
}

// Intel SDM volume 2, CPUID. Everything that the variants are compiled with (see CMakeLists.txt).
constexpr unsigned kLeaf1 =
    bits(1 /* PCLMULQDQ */, 12 /* FMA */, 23 /* POPCNT */, 25 /* AES */, 27 /* OSXSAVE */, 28 /* AVX */, 29 /* F16C */);
constexpr unsigned kLeaf7Avx2 = bits(3 /* BMI1 */, 5 /* AVX2 */, 8 /* BMI2 */);
constexpr unsigned kLeaf7Avx512 = bits(16 /* F */, 17 /* DQ */, 28 /* CD */, 30 /* BW */, 31 /* VL */);
constexpr unsigned kLeaf7Part1 = bits(5 /* AVX512_BF16 */);  // of EAX
constexpr unsigned kExtended = bits(5 /* LZCNT */);
constexpr unsigned kSavedAvx = bits(1, 2);
constexpr unsigned kSavedAvx512 = kSavedAvx | bits(5, 6, 7);

bool all(unsigned word, unsigned wanted) {
  return (word & wanted) == wanted;
}

}  // namespace

bool cpu_has_avx2() {
  return all(cpuid(1).ecx, kLeaf1) && all(cpuid(7).ebx, kLeaf7Avx2) && all(cpuid(0x80000001).ecx, kExtended) &&
         all(saved_registers(), kSavedAvx);
}

bool cpu_has_avx512() {
  return cpu_has_avx2() && all(cpuid(7).ebx, kLeaf7Avx512) && all(saved_registers(), kSavedAvx512);
}

bool cpu_has_avx512_bfloat16() {
  return cpu_has_avx512() && cpuid(7).eax >= 1 && all(cpuid(7, 1).eax, kLeaf7Part1);
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
bool cpu_has_avx512_bfloat16() {
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
