// Element types: 16-byte loads and stores, conversion to float32 and back.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#else
#include "cpu/narrow_floats.h"
#endif

namespace darnet {

constexpr int kUnroll = 4;  // accesses of one tensor in flight a thread, to cover the latency

// Elements in one 16-byte access.
template <typename T>
constexpr int kPerAccess = 16 / static_cast<int>(sizeof(T));

__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ float to_float(__half v) { return __half2float(v); }
__device__ __forceinline__ float to_float(__nv_bfloat16 v) { return __bfloat162float(v); }
__device__ __forceinline__ float to_float(int8_t v) { return static_cast<float>(v); }

template <typename T>
__device__ __forceinline__ T from_float(float v);
template <>
__device__ __forceinline__ float from_float<float>(float v) {
    return v;
}
template <>
__device__ __forceinline__ __half from_float<__half>(float v) {
    return __float2half_rn(v);
}
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float v) {
    return __float2bfloat16_rn(v);
}
// Saturating, ties to even, as ONNX's QuantizeLinear; NaN becomes 0.
template <>
__device__ __forceinline__ int8_t from_float<int8_t>(float v) {
    const int q = __float2int_rn(fminf(fmaxf(v, -128.0f), 127.0f));
    return static_cast<int8_t>(v == v ? q : 0);
}

// V elements at p: 16 bytes at a time where V allows, else one element. p is aligned accordingly.
template <typename T, int V>
struct Pack {
    T element[V];

    __device__ __forceinline__ void load(const T* p) {
        if constexpr (V == 1) {
            element[0] = *p;
        } else {
            static_assert(V % kPerAccess<T> == 0);
#pragma unroll
            for (int i = 0; i < V / kPerAccess<T>; ++i) {
                const uint4 raw = reinterpret_cast<const uint4*>(p)[i];
                memcpy(element + i * kPerAccess<T>, &raw, 16);
            }
        }
    }

    __device__ __forceinline__ void store(T* p) const {
        if constexpr (V == 1) {
            *p = element[0];
        } else {
#pragma unroll
            for (int i = 0; i < V / kPerAccess<T>; ++i) {
                uint4 raw;
                memcpy(&raw, element + i * kPerAccess<T>, 16);
                reinterpret_cast<uint4*>(p)[i] = raw;
            }
        }
    }
};

}  // namespace darnet
