// Phase 2: the channel gates, and the hidden layer of the depth gates.
//
// Every block of a volume adds the parts and computes the channel gates for itself, which is cheaper
// than another launch, and then its share of the depth attention's hidden units. The depth
// attention's second layer is left to the apply phase, whose blocks each need one slice's gates.
#pragma once

#include "elements.cuh"

namespace darnet {

constexpr int kGateThreads = 256;
constexpr int kUnitsPerBlock = 2;  // hidden units of the depth attention a block

__device__ __forceinline__ float sigmoid(float v) { return 1.0f / (1.0f + expf(-v)); }

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (int lane = 16; lane > 0; lane /= 2) v += __shfl_xor_sync(0xffffffffu, v, lane);
    return v;
}

// Floats of shared memory: the gated means where they fit (c·(d+1)), else none of them.
constexpr int gate_shared_floats(int c, int d, int channel_hidden, bool staged) {
    return (staged ? c * (d + 1) : 0) + 2 * c + channel_hidden + kGateThreads / 32;
}

// grid (blocks, n), block 256. partial: (n, d, parts, c); parts is 1 where `staged` is not.
// channel_gates: (n, c), hidden: (n, depth_hidden), both float32.
template <typename W>
__global__ void __launch_bounds__(kGateThreads) gate(const float* __restrict__ partial,
    const W* __restrict__ channel_squeeze, const W* __restrict__ channel_squeeze_bias,
    const W* __restrict__ channel_excite, const W* __restrict__ channel_excite_bias,
    const W* __restrict__ depth_squeeze, const W* __restrict__ depth_squeeze_bias,
    float* __restrict__ channel_gates, float* __restrict__ hidden, float mean_factor, int d, int c,
    int parts, int channel_hidden, int depth_hidden, bool staged) {
    DARNET_SHARED(float, shared);
    float* means = shared;  // of slice and channel at c·(d+1) + d: the pad keeps banks apart
    float* channel_means = shared + (staged ? c * (d + 1) : 0);
    float* gates = channel_means + c;
    float* channel_units = gates + c;
    float* warp_sums = channel_units + channel_hidden;
    const int self = threadIdx.x;
    const int warp = self / 32, lane = self % 32;
    const int n = blockIdx.y;
    partial += static_cast<int64_t>(n) * d * parts * c;

    const auto mean = [&](int channel, int slice) {
        return staged ? means[channel * (d + 1) + slice]
                      : partial[static_cast<int64_t>(slice) * c + channel] * mean_factor;
    };
    if (staged) {
        for (int i = self; i < d * c; i += kGateThreads) {
            const int slice = i / c, channel = i % c;
            const float* part = partial + static_cast<int64_t>(slice) * parts * c + channel;
            float sum = 0;
#pragma unroll 8
            for (int p = 0; p < parts; ++p) sum += part[static_cast<int64_t>(p) * c];
            means[channel * (d + 1) + slice] = sum * mean_factor;
        }
        __syncthreads();
    }

    if (channel_hidden > 0) {
        for (int channel = self; channel < c; channel += kGateThreads) {
            float sum = 0;
            for (int slice = 0; slice < d; ++slice) sum += mean(channel, slice);
            channel_means[channel] = sum / static_cast<float>(d);
        }
        __syncthreads();
        for (int unit = warp; unit < channel_hidden; unit += kGateThreads / 32) {
            const W* row = channel_squeeze + static_cast<int64_t>(unit) * c;
            float sum = 0;
            for (int i = lane; i < c; i += 32) sum += to_float(row[i]) * channel_means[i];
            sum = warp_sum(sum);
            if (lane == 0)
                channel_units[unit] = fmaxf(sum + to_float(channel_squeeze_bias[unit]), 0.0f);
        }
        __syncthreads();
        for (int channel = self; channel < c; channel += kGateThreads) {
            const W* row = channel_excite + static_cast<int64_t>(channel) * channel_hidden;
            float sum = to_float(channel_excite_bias[channel]);
            for (int i = 0; i < channel_hidden; ++i) sum += to_float(row[i]) * channel_units[i];
            gates[channel] = sigmoid(sum);
            if (blockIdx.x == 0)
                channel_gates[static_cast<int64_t>(n) * c + channel] = gates[channel];
        }
    } else {
        for (int channel = self; channel < c; channel += kGateThreads) gates[channel] = 1.0f;
    }
    __syncthreads();

    for (int u = 0; u < kUnitsPerBlock; ++u) {
        const int unit = blockIdx.x * kUnitsPerBlock + u;
        if (unit >= depth_hidden) break;  // the same for the whole block
        const W* row = depth_squeeze + static_cast<int64_t>(unit) * c * d;
        float sum = 0;
        for (int i = self; i < c * d; i += kGateThreads) {
            const int channel = i / d, slice = i % d;
            sum += to_float(row[i]) * (gates[channel] * mean(channel, slice));
        }
        sum = warp_sum(sum);
        if (lane == 0) warp_sums[warp] = sum;
        __syncthreads();
        if (self == 0) {
            sum = to_float(depth_squeeze_bias[unit]);
            for (int i = 0; i < kGateThreads / 32; ++i) sum += warp_sums[i];
            hidden[static_cast<int64_t>(n) * depth_hidden + unit] = fmaxf(sum, 0.0f);
        }
        __syncthreads();
    }
}

}  // namespace darnet
