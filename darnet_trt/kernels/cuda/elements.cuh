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

// Of byte i of four int8, without I2F, which runs at a quarter of the speed: the byte plus 128 as
// the low bits of 2²³, then the difference, which is exact.
__device__ __forceinline__ float to_float(uint32_t four, int i) {
    const uint32_t shifted = __byte_perm(four ^ 0x80808080u, 0x4b000000u, 0x7650u + i);
    return __uint_as_float(shifted) - (0x1p23f + 128.0f);
}

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
    const float near = fmaf(fmaf(-product, y.scale, bounded), y.inverse, product);
    // The sum's last place is 1, so adding rounds; its low byte is the integer, without F2I.
    const uint32_t bits = __float_as_uint(near + 0x1.8p23f);
    return static_cast<int8_t>(v == v ? bits : 0u);
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

#ifdef __CUDACC__
template <typename Raw>
__device__ __forceinline__ Raw load_streaming(const Raw* p) {
    return __ldcs(p);
}
#else
template <typename Raw>
Raw load_streaming(const Raw* p) {
    return *p;
}
#endif

// V elements, which one access takes; their address is a multiple of its size.
template <typename T, int V>
struct Pack {
    using Raw = typename Access<V * static_cast<int>(sizeof(T))>::type;
    Raw raw;

    __device__ __forceinline__ void load(const T* p) { raw = *reinterpret_cast<const Raw*>(p); }

    // For what is read the last time: it is the first to leave the caches.
    __device__ __forceinline__ void load_last(const T* p) {
        raw = load_streaming(reinterpret_cast<const Raw*>(p));
    }

    __device__ __forceinline__ void store(T* p) const { *reinterpret_cast<Raw*>(p) = raw; }

    __device__ __forceinline__ void set(const T (&element)[V]) {
        memcpy(&raw, element, sizeof raw);
    }

    // Four int8 each.
    __device__ __forceinline__ uint32_t word(int i) const {
        uint32_t words[V / 4];
        memcpy(words, &raw, sizeof raw);
        return words[i];
    }

    __device__ __forceinline__ float value(int i) const {
        if constexpr (sizeof(T) == 1 && V % 4 == 0) {
            return to_float(word(i / 4), i % 4);
        } else {
            T element[V];
            memcpy(element, &raw, sizeof raw);
            return to_float(element[i]);
        }
    }
};

}  // namespace darnet
