// Phase 3: y = relu(x · gates + residual).
//
// A block scales one part of one slice for a chunk of channels. It asks for its first rows, and
// while they come computes that slice's gates (the depth attention's second layer: c·hidden
// products, some kilobytes of weights), keeps each thread's in registers, then streams the rows.
#pragma once

#include "gate.cuh"

namespace darnet {

// grid and block as of `pool`; shared groups · V floats.
// The grid's slices are taken last first: what the pooling read last is still in the L2 cache.
template <typename X, typename R, typename Y, typename W, int V>
__global__ void __launch_bounds__(256, 3) apply(const X* x, const R* residual, Y* y,
    const float* __restrict__ channel_gates, const float* __restrict__ hidden,
    const W* __restrict__ excite, const W* __restrict__ excite_bias, int d, int hw, int c,
    int parts, int depth_hidden, float x_scale, float residual_scale, Int8Scale y_scale) {
    DARNET_SHARED(float, gates);
    const int slice = gridDim.x - 1 - blockIdx.x;  // of n·d
    const int n = slice / d, in_volume = slice % d;
    const int part = gridDim.y - 1 - blockIdx.y;
    const int threads = blockDim.x * blockDim.y;
    const int self = threadIdx.y * blockDim.x + threadIdx.x;
    const int first_channel = blockIdx.z * blockDim.x * V;
    const int channels = min(static_cast<int>(blockDim.x) * V, c - first_channel);

    const int channel = first_channel + static_cast<int>(threadIdx.x) * V;
    const int first = static_cast<int>(static_cast<int64_t>(hw) * part / parts);
    // Threads beyond the last channel help with the gates and have no rows.
    const int last = channel < c ? static_cast<int>(static_cast<int64_t>(hw) * (part + 1) / parts) : 0;
    const int64_t start = static_cast<int64_t>(slice) * hw * c + channel;
    const int step = blockDim.y;
    Pack<X, V> in[kUnroll];
    Pack<R, V> shortcut[kUnroll];
    const auto load = [&](int row) {
#pragma unroll
        for (int u = 0; u < kUnroll; ++u) {
            if (row + u * step >= last) continue;
            const int64_t at = start + static_cast<int64_t>(row + u * step) * c;
            in[u].load(x + at);
            if (residual != nullptr) shortcut[u].load(residual + at);
        }
    };
    int row = first + static_cast<int>(threadIdx.y);
    load(row);

    for (int i = self; i < channels; i += threads) {
        float value = x_scale;
        if (channel_gates != nullptr)
            value *= channel_gates[static_cast<int64_t>(n) * c + first_channel + i];
        gates[i] = value;
    }
    __syncthreads();
    if (depth_hidden > 0) {
        const float* units = hidden + static_cast<int64_t>(n) * depth_hidden;
        int lanes = 1;  // of one row: a power of two
        while (lanes < 32 && lanes * kPerAccess<W> < depth_hidden) lanes *= 2;
        const int tasks = (channels * lanes + 31) / 32 * 32;  // whole warps take part in shuffles
        for (int task = self; task < tasks; task += threads) {
            const int i = task / lanes;
            const int64_t feature = static_cast<int64_t>(first_channel + i) * d + in_volume;
            float sum[1] = {};
            if (i < channels)
                add_products(sum, excite + feature * depth_hidden, 1, depth_hidden, task % lanes,
                    lanes, [&](int j) { return units[j]; });
            for (int other = lanes / 2; other > 0; other /= 2)
                sum[0] += __shfl_xor_sync(0xffffffffu, sum[0], other);
            if (i < channels && task % lanes == 0)
                gates[i] *= sigmoid(sum[0] + to_float(excite_bias[feature]));
        }
        __syncthreads();
    }

    float gate_of[V];
#pragma unroll
    for (int i = 0; i < V; ++i) gate_of[i] = channel < c ? gates[threadIdx.x * V + i] : 0.0f;
    while (row < last) {
#pragma unroll
        for (int u = 0; u < kUnroll; ++u) {
            if (row + u * step >= last) continue;
            Pack<Y, V> out;
#pragma unroll
            for (int i = 0; i < V; ++i) {
                float value = to_float(in[u].element[i]) * gate_of[i];
                if (residual != nullptr) {
                    value = relu(fmaf(to_float(shortcut[u].element[i]), residual_scale, value));
                }
                out.element[i] = stored<Y>(value, y_scale);
            }
            out.store(y + start + static_cast<int64_t>(row + u * step) * c);
        }
        row += kUnroll * step;
        load(row);
    }
}

}  // namespace darnet
