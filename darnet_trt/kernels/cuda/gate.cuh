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
constexpr int kUnitsPerWarp = 4;   // of the channel attention a warp adds at once

__device__ __forceinline__ float sigmoid(float v) { return 1.0f / (1.0f + expf(-v)); }

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (int lane = 16; lane > 0; lane /= 2) v += __shfl_xor_sync(0xffffffffu, v, lane);
    return v;
}

// Where feature i is in shared memory: one float in 33 is left out, so that neither neighbours nor
// features a multiple of 32 apart meet in one bank.
__host__ __device__ constexpr int padded(int i) { return i + i / 32; }

// Floats of shared memory: the means where they fit, else none of them.
constexpr int gate_shared_floats(int c, int d, int channel_hidden, bool staged) {
    return (staged ? padded(c * d) : 0) + 2 * c + channel_hidden + kUnitsPerBlock * (kGateThreads / 32);
}

// Adds one thread's share of `rows` ≤ Rows dot products: of the rows of a (·, length) matrix from
// `matrix` on with the vector of value(i). The thread is number `lane` of `lanes`.
template <int Rows, typename W, typename F>
__device__ __forceinline__ void add_products(float (&sum)[Rows], const W* __restrict__ matrix,
    int rows, int length, int lane, int lanes, F value) {
    constexpr int V = kPerAccess<W>;
    if (length % V == 0) {  // every row begins at a multiple of 16 bytes
#pragma unroll 2
        for (int i = lane * V; i < length; i += lanes * V) {
            Pack<W, V> weights[Rows];
#pragma unroll
            for (int r = 0; r < Rows; ++r)
                if (r < rows) weights[r].load(matrix + static_cast<int64_t>(r) * length + i);
#pragma unroll
            for (int j = 0; j < V; ++j) {
                const float factor = value(i + j);
#pragma unroll
                for (int r = 0; r < Rows; ++r)
                    if (r < rows) sum[r] += to_float(weights[r].element[j]) * factor;
            }
        }
    } else {
#pragma unroll 4
        for (int i = lane; i < length; i += lanes) {
            const float factor = value(i);
#pragma unroll
            for (int r = 0; r < Rows; ++r)
                if (r < rows)
                    sum[r] += to_float(matrix[static_cast<int64_t>(r) * length + i]) * factor;
        }
    }
}

// Means of V neighbouring channels at a time: partial (d, parts, c) to features c·d + d.
template <int V>
__device__ __forceinline__ void stage_means(const float* __restrict__ partial, float* means,
    float mean_factor, int d, int c, int parts) {
    const int groups = c / V;
    for (int i = threadIdx.x; i < d * groups; i += kGateThreads) {
        const int slice = i / groups, channel = i % groups * V;
        const float* part = partial + static_cast<int64_t>(slice) * parts * c + channel;
        float sum[V] = {};
#pragma unroll 8
        for (int p = 0; p < parts; ++p) {
            Pack<float, V> pack;
            pack.load(part + static_cast<int64_t>(p) * c);
#pragma unroll
            for (int j = 0; j < V; ++j) sum[j] += pack.element[j];
        }
#pragma unroll
        for (int j = 0; j < V; ++j) means[padded((channel + j) * d + slice)] = sum[j] * mean_factor;
    }
}

// Asks for weights that are needed some barriers later: the pooling has swept them out of the L2.
template <typename W>
__device__ __forceinline__ void prefetch(const W* weights, int count) {
#ifdef __CUDA_ARCH__
    constexpr int line = 128 / sizeof(W);
    for (int i = threadIdx.x * line; i < count; i += kGateThreads * line)
        asm volatile("prefetch.global.L2 [%0];" ::"l"(weights + i));
#endif
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
    float* means = shared;
    float* channel_means = shared + (staged ? padded(c * d) : 0);
    float* gates = channel_means + c;
    float* channel_units = gates + c;
    float* warp_sums = channel_units + channel_hidden;
    const int self = threadIdx.x;
    const int warp = self / 32, lane = self % 32;
    const int n = blockIdx.y;
    const int features = c * d;
    const int first_unit = blockIdx.x * kUnitsPerBlock;
    const int units = min(depth_hidden - first_unit, kUnitsPerBlock);
    const W* const unit_weights = depth_squeeze + static_cast<int64_t>(first_unit) * features;
    partial += static_cast<int64_t>(n) * d * parts * c;

    prefetch(channel_squeeze, channel_hidden * c);
    prefetch(channel_excite, channel_hidden * c);
    for (int u = 0; u < units; ++u)
        prefetch(unit_weights + static_cast<int64_t>(u) * features, features);

    const auto mean = [&](int i) {
        return staged ? means[padded(i)]
                      : partial[static_cast<int64_t>(i % d) * c + i / d] * mean_factor;
    };
    if (staged) {
        if (c % 4 == 0)
            stage_means<4>(partial, means, mean_factor, d, c, parts);
        else
            stage_means<1>(partial, means, mean_factor, d, c, parts);
        __syncthreads();
    }

    if (channel_hidden > 0) {
        for (int channel = self; channel < c; channel += kGateThreads) {
            float sum = 0;
            for (int slice = 0; slice < d; ++slice) sum += mean(channel * d + slice);
            channel_means[channel] = sum / static_cast<float>(d);
        }
        __syncthreads();
        for (int first = warp * kUnitsPerWarp; first < channel_hidden;
             first += kGateThreads / 32 * kUnitsPerWarp) {
            const int rows = min(channel_hidden - first, kUnitsPerWarp);
            float sum[kUnitsPerWarp] = {};
            add_products(sum, channel_squeeze + static_cast<int64_t>(first) * c, rows, c, lane, 32,
                [&](int i) { return channel_means[i]; });
#pragma unroll
            for (int r = 0; r < kUnitsPerWarp; ++r) {
                sum[r] = warp_sum(sum[r]);
                if (lane == 0 && r < rows)
                    channel_units[first + r]
                        = relu(sum[r] + to_float(channel_squeeze_bias[first + r]));
            }
        }
        __syncthreads();
        for (int channel = self; channel < c; channel += kGateThreads) {
            float sum[1] = {to_float(channel_excite_bias[channel])};
            add_products(sum, channel_excite + static_cast<int64_t>(channel) * channel_hidden, 1,
                channel_hidden, 0, 1, [&](int i) { return channel_units[i]; });
            gates[channel] = sigmoid(sum[0]);
            if (blockIdx.x == 0)
                channel_gates[static_cast<int64_t>(n) * c + channel] = gates[channel];
        }
        __syncthreads();
    }
    if (units <= 0) return;  // the same for the whole block, as all below

    const auto gated = [&](int i) { return channel_hidden > 0 ? mean(i) * gates[i / d] : mean(i); };
    if (staged) {
        for (int i = self; i < features; i += kGateThreads) means[padded(i)] = gated(i);
        __syncthreads();
    }
    float sum[kUnitsPerBlock] = {};
    add_products(sum, unit_weights, units, features, self, kGateThreads,
        [&](int i) { return staged ? means[padded(i)] : gated(i); });
#pragma unroll
    for (int u = 0; u < kUnitsPerBlock; ++u) {
        sum[u] = warp_sum(sum[u]);
        if (lane == 0) warp_sums[u * (kGateThreads / 32) + warp] = sum[u];
    }
    __syncthreads();
    if (self < units) {
        float total = to_float(depth_squeeze_bias[first_unit + self]);
        for (int i = 0; i < kGateThreads / 32; ++i)
            total += warp_sums[self * (kGateThreads / 32) + i];
        hidden[static_cast<int64_t>(n) * depth_hidden + first_unit + self] = relu(total);
    }
}

}  // namespace darnet
