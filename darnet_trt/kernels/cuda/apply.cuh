// Phase 3: y = relu(x · gates + residual).
//
// A block scales one part of one slice for a chunk of channels. It first computes that slice's
// gates (the depth attention's second layer: c·hidden products, some kilobytes of weights), keeps
// each thread's in registers, then streams the rows.
#pragma once

#include "gate.cuh"

namespace darnet {

constexpr int kRowElements = 8;  // of an excite row a lane reads at a time

// grid and block as of `pool`; shared groups · V floats.
// The grid's slices are taken last first: what the pooling read last is still in the L2 cache.
template <typename X, typename R, typename Y, typename W, int V>
__global__ void __launch_bounds__(256) apply(const X* x, const R* residual, Y* y,
    const float* __restrict__ channel_gates, const float* __restrict__ hidden,
    const W* __restrict__ excite, const W* __restrict__ excite_bias, int d, int hw, int c,
    int parts, int depth_hidden, float x_scale, float residual_scale, float y_inverse_scale) {
    DARNET_SHARED(float, gates);
    const int slice = gridDim.x - 1 - blockIdx.x;  // of n·d
    const int n = slice / d, in_volume = slice % d;
    const int part = gridDim.y - 1 - blockIdx.y;
    const int threads = blockDim.x * blockDim.y;
    const int self = threadIdx.y * blockDim.x + threadIdx.x;
    const int first_channel = blockIdx.z * blockDim.x * V;
    const int channels = min(static_cast<int>(blockDim.x) * V, c - first_channel);

    for (int i = self; i < channels; i += threads) {
        const int channel = first_channel + i;
        float value = x_scale;
        if (channel_gates != nullptr) value *= channel_gates[static_cast<int64_t>(n) * c + channel];
        gates[i] = value;
    }
    __syncthreads();
    if (depth_hidden > 0) {
        // Lanes of one row: a power of two, each reading kRowElements neighbours at a time.
        int lanes = 1;
        while (lanes < 32 && lanes * kRowElements < depth_hidden) lanes *= 2;
        const float* units = hidden + static_cast<int64_t>(n) * depth_hidden;
        const int full = (channels * lanes + 31) / 32 * 32;  // whole warps take part in shuffles
        for (int task = self; task < full; task += threads) {
            const int i = task / lanes, lane = task % lanes;
            float sum = 0;
            int64_t feature = 0;
            if (i < channels) {
                feature = static_cast<int64_t>(first_channel + i) * d + in_volume;
                const W* row = excite + feature * depth_hidden;
                for (int begin = lane * kRowElements; begin < depth_hidden;
                     begin += lanes * kRowElements) {
                    const int end = min(begin + kRowElements, depth_hidden);
                    for (int j = begin; j < end; ++j) sum += to_float(row[j]) * units[j];
                }
            }
            for (int other = lanes / 2; other > 0; other /= 2)
                sum += __shfl_xor_sync(0xffffffffu, sum, other);
            if (i < channels && lane == 0) gates[i] *= sigmoid(sum + to_float(excite_bias[feature]));
        }
        __syncthreads();
    }

    const int channel = first_channel + static_cast<int>(threadIdx.x) * V;
    if (channel >= c) return;
    float gate_of[V];
#pragma unroll
    for (int i = 0; i < V; ++i) gate_of[i] = gates[threadIdx.x * V + i];
    const int first = static_cast<int>(static_cast<int64_t>(hw) * part / parts);
    const int last = static_cast<int>(static_cast<int64_t>(hw) * (part + 1) / parts);
    const int64_t start = static_cast<int64_t>(slice) * hw * c + channel;
    const int step = blockDim.y;

    const auto finish = [&](const Pack<X, V>& in, const Pack<R, V>& shortcut, int64_t at) {
        Pack<Y, V> out;
#pragma unroll
        for (int i = 0; i < V; ++i) {
            float value = to_float(in.element[i]) * gate_of[i];
            if (residual != nullptr) {
                value = fmaf(to_float(shortcut.element[i]), residual_scale, value);
                value = value < 0.0f ? 0.0f : value;  // keeps NaN, as torch's relu
            }
            out.element[i] = from_float<Y>(value * y_inverse_scale);
        }
        out.store(y + at);
    };
    int row = first + static_cast<int>(threadIdx.y);
    for (; row + (kUnroll - 1) * step < last; row += kUnroll * step) {
        Pack<X, V> in[kUnroll];
        Pack<R, V> shortcut[kUnroll];
#pragma unroll
        for (int u = 0; u < kUnroll; ++u) {
            const int64_t at = start + static_cast<int64_t>(row + u * step) * c;
            in[u].load(x + at);
            if (residual != nullptr) shortcut[u].load(residual + at);
        }
#pragma unroll
        for (int u = 0; u < kUnroll; ++u)
            finish(in[u], shortcut[u], start + static_cast<int64_t>(row + u * step) * c);
    }
    for (; row < last; row += step) {
        const int64_t at = start + static_cast<int64_t>(row) * c;
        Pack<X, V> in;
        Pack<R, V> shortcut;
        in.load(x + at);
        if (residual != nullptr) shortcut.load(residual + at);
        finish(in, shortcut, at);
    }
}

}  // namespace darnet
