// Element types: vector loads and stores, conversion to float32 and back.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#else
#include "cpu/narrow_floats.h"
#endif

namespace darnet {

constexpr int kUnroll = 4;  // rows of a tensor in flight a thread, to cover the latency

// Elements in a 16-byte access.
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
__device__ __forceinline__ float relu(float v) { return v < 0.0f ? 0.0f : v; }  // keeps NaN

// An int8 tensor: value = scale · stored.
struct Int8Scale {
    float scale, inverse;  // 1 / scale, rounded
    float least, most;     // values beyond saturate
};

// As ONNX's QuantizeLinear: v / scale, ties to even, saturating; NaN becomes 0. Multiplying by the
// inverse would round 3 in 100 values at a tie to the other side, and a division has a slow path.
// One correction of the product is enough: with it all 2²³ significands of the scale round the
// neighbours of all ties as the division does (scales of 2⁻¹⁰⁰ to 2¹²⁶; the rest within a step).
__device__ __forceinline__ int8_t quantize(float v, const Int8Scale& y) {
    const float bounded = fminf(fmaxf(v, y.least), y.most);
    const float product = bounded * y.inverse;
    const int q = __float2int_rn(fmaf(fmaf(-product, y.scale, bounded), y.inverse, product));
    return static_cast<int8_t>(v == v ? q : 0);
}

template <typename Y>
__device__ __forceinline__ Y stored(float v, const Int8Scale& y) {
    if constexpr (std::is_same_v<Y, int8_t>)
        return quantize(v, y);
    else
        return from_float<Y>(v);
}

// The integer type of one access.
template <int bytes>
struct Access;
template <>
struct Access<1> {
    using type = uint8_t;
};
template <>
struct Access<2> {
    using type = uint16_t;
};
template <>
struct Access<4> {
    using type = uint32_t;
};
template <>
struct Access<8> {
    using type = uint2;
};
template <>
struct Access<16> {
    using type = uint4;
};

// V elements at p, which is aligned to all of them, in one access.
template <typename T, int V>
struct Pack {
    using Raw = typename Access<V * static_cast<int>(sizeof(T))>::type;
    T element[V];

    __device__ __forceinline__ void load(const T* p) {
        const Raw raw = *reinterpret_cast<const Raw*>(p);
        memcpy(element, &raw, sizeof raw);
    }

    __device__ __forceinline__ void store(T* p) const {
        Raw raw;
        memcpy(&raw, element, sizeof raw);
        *reinterpret_cast<Raw*>(p) = raw;
    }
};

}  // namespace darnet
