// Arithmetic that processors and cards share: one text, compiled for both, so that both find the same bits.
#pragma once

// Static: the kernels of every instruction set have a copy of their own. No fused multiply-adds: sources that include
// such headers are compiled with -ffp-contract=off, or -fmad=false on a card.
#ifdef __CUDACC__
#define SEQRISK_BOTH __host__ __device__ static inline
#else
#define SEQRISK_BOTH static inline
#endif
