// float16 and bfloat16 for g++, with CUDA's names; rounding to nearest even as the hardware does.
#pragma once

#include <cstdint>
#include <cstring>

struct __half {
    uint16_t bits;
};
struct __nv_bfloat16 {
    uint16_t bits;
};

inline float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
inline uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

inline float __bfloat162float(__nv_bfloat16 v) { return float_of(uint32_t{v.bits} << 16); }

inline __nv_bfloat16 __float2bfloat16_rn(float value) {
    const uint32_t bits = bits_of(value);
    if (value != value) return {0x7fff};
    return {static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
}

inline float __half2float(__half v) {
    const uint32_t sign = uint32_t{v.bits & 0x8000u} << 16;
    const uint32_t magnitude = v.bits & 0x7fffu;
    if (magnitude >= 0x7c00) return float_of(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
    if (magnitude >= 0x400) return float_of(sign | ((magnitude << 13) + 0x38000000));
    const float subnormal = static_cast<float>(magnitude) * 0x1p-24f;
    return sign ? -subnormal : subnormal;
}

inline __half __float2half_rn(float value) {
    const uint32_t bits = bits_of(value);
    const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
    const uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return {0x7fff};
    if (magnitude >= 0x477ff000) return {static_cast<uint16_t>(sign | 0x7c00)};  // 65520 and up
    if (magnitude < 0x38800000) {  // below 2⁻¹⁴: adding 0.5 rounds to multiples of 2⁻²⁴
        const uint32_t rounded = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000;
        return {static_cast<uint16_t>(sign | rounded)};
    }
    const uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1) - 0x38000000;
    return {static_cast<uint16_t>(sign | rounded >> 13)};
}
