// What this processor can do.
#pragma once

namespace seqrisk {

bool cpu_has_avx2();    // with FMA, BMI, LZCNT and F16C
bool cpu_has_avx512();  // F, BW, CD, DQ, VL
bool cpu_has_avx512_bfloat16();
bool cpu_has_neon();

}  // namespace seqrisk
