// Arithmetic that processors and cards share: one text, compiled for both, so that both find the same bits.
#pragma once

// No fused multiply-adds: sources that include such headers are compiled with -ffp-contract=off, or -fmad=false on a
// card. The kernels of every instruction set have a copy of their own, which the linker must not share: functions are
// static, classes stand in unnamed namespaces.
#ifdef __CUDACC__
#define SEQRISK_BOTH_MEMBER __host__ __device__
// Of templates that each side instantiates for itself.
#define SEQRISK_EITHER_MEMBER __device__
#else
#define SEQRISK_BOTH_MEMBER
#define SEQRISK_EITHER_MEMBER
#endif
#define SEQRISK_BOTH SEQRISK_BOTH_MEMBER static inline
