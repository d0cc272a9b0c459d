#include "runtime/kernel_table.h"

#include <cstdlib>

#include "runtime/cpu_features.h"
#include "runtime/error.h"

namespace seqrisk {

// The build defines one SEQRISK_HAVE_… for each variant that it compiles.
#ifdef SEQRISK_HAVE_AVX512
namespace avx512 {
extern const KernelTable kTable;
}
#endif
#ifdef SEQRISK_HAVE_AVX512_BFLOAT16
namespace avx512_bfloat16 {
extern const KernelTable kTable;
}
#endif
#ifdef SEQRISK_HAVE_AVX2
namespace avx2 {
extern const KernelTable kTable;
}
#endif
#ifdef SEQRISK_HAVE_NEON
namespace neon {
extern const KernelTable kTable;
}
#endif
namespace scalar {
extern const KernelTable kTable;
}

const std::vector<Variant>& cpu_variants() {
  static const std::vector<Variant> variants = {
#ifdef SEQRISK_HAVE_AVX512
      {&avx512::kTable, cpu_has_avx512()},
#endif
#ifdef SEQRISK_HAVE_AVX2
      {&avx2::kTable, cpu_has_avx2()},
#endif
#ifdef SEQRISK_HAVE_NEON
      {&neon::kTable, cpu_has_neon()},
#endif
      {&scalar::kTable, true},
  };
  return variants;
}

namespace {

std::string wanted_variant(const std::string& name) {
  const char* forced = std::getenv("SEQRISK_VARIANT");
  return !name.empty() ? name : forced ? forced : "";
}

}  // namespace

const KernelTable& choose_cpu_variant(const std::string& name) {
  const std::string wanted = wanted_variant(name);
  std::string supported;
  for (const Variant& variant : cpu_variants()) {
    if (wanted.empty() && variant.supported) return *variant.table;
    if (wanted == variant.table->name && variant.supported) return *variant.table;
    if (variant.supported) supported += (supported.empty() ? "" : ", ") + std::string(variant.table->name);
  }
  throw Error::range("[variant] expected one of " + supported + " (what this binary and this processor have) but " +
                     "received '" + wanted + "'; choose one of them or unset SEQRISK_VARIANT");
}

const KernelTable& choose_cpu_bfloat16(const std::string& name) {
  const std::string wanted = wanted_variant(name);
  if (!wanted.empty() && wanted != "avx512") {
    throw Error::range("[precision] expected the variant avx512 for bfloat16 but received '" + wanted +
                       "'; choose that, unset SEQRISK_VARIANT, or use precision 'float32'");
  }
#ifdef SEQRISK_HAVE_AVX512_BFLOAT16
  if (cpu_has_avx512_bfloat16()) return avx512_bfloat16::kTable;
  const char* missing = "a processor without them";
#else
  const char* missing = "a binary that was built without them";
#endif
  throw Error::coded("NO_BFLOAT16",
                     std::string("[precision] expected the AVX-512 BF16 instructions for bfloat16 (AMD from Zen "
                                 "4, Intel from Sapphire Rapids) but received ") +
                         missing + "; use precision 'float32'");
}

}  // namespace seqrisk
