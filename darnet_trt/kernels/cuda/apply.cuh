// Phase 2: y = relu(x · gates + residual).
//
// A block scales one part of one slice for a chunk of channels. It asks the L2 cache for its first
// rows, and while they come computes all channel gates s, the depth attention's hidden layer
// relu(U · s + b) and its own slice's gates from some ten kilobytes of weights that all blocks read;
// then it streams the rows. Nobody reads x and the residual after it, so they leave the caches first.
#pragma once

#include "pool.cuh"

namespace darnet {

constexpr int kRows = 2;  // of a matrix at once: more would spill registers

// Both gates; `pooled` is what the pool phase left.
template <typename W>
struct Gates {
    Pooled pooled;
    const W *channel_squeeze, *channel_squeeze_bias, *channel_excite, *channel_excite_bias;
    const W *depth_squeeze_bias, *depth_excite, *depth_excite_bias;
    int channel_hidden, depth_hidden;  // 0: the gate is absent
};

// Floats of shared memory for a block of `channels` channels.
constexpr int64_t apply_shared_floats(
    int channels, int c, int channel_hidden, int depth_hidden) {
    return int64_t{channels} + depth_hidden + (channel_hidden > 0 ? 2 * int64_t{c} + channel_hidden : 0);
}

// Computes x_scale · s · ẑ of one slice, for `channels` channels from first_channel on, into the
// first floats of `shared`.
template <typename W>
__device__ __forceinline__ void slice_gates(const Gates<W>& of, const Shape& shape, float* shared,
    int room, int slice, int first_channel, float x_scale, int self) {
    const int d = shape.d, c = shape.c, n = slice / d;
    const int channels = min(room, c - first_channel);
    float* const gates = shared;
    float* const hidden = shared + room;
    float* const units = hidden + of.depth_hidden;
    float* const means = units + of.channel_hidden;
    float* const s = means + c;
    const bool has_channel = of.channel_hidden > 0;
    if (has_channel) {
        for (int i = self; i < c; i += kThreads)
            means[i] = of.pooled.means[static_cast<int64_t>(n) * c + i];
        __syncthreads();
        products<kRows>(Matrix<W>{of.channel_squeeze, c, 0, of.channel_hidden, 1, c}, self, kThreads,
            [&](int, int i) { return means[i]; },
            [&](int unit, int, float value) {
                units[unit] = relu(value + to_float(of.channel_squeeze_bias[unit]));
            });
        __syncthreads();
        products<kRows>(Matrix<W>{of.channel_excite, of.channel_hidden, 0, c, 1, of.channel_hidden}, self,
            kThreads, [&](int, int i) { return units[i]; },
            [&](int channel, int, float value) {
                s[channel] = sigmoid(value + to_float(of.channel_excite_bias[channel]));
            });
        __syncthreads();
    }
    if (of.depth_hidden == 0) {
        for (int i = self; i < channels; i += kThreads) gates[i] = x_scale * s[first_channel + i];
        __syncthreads();
        return;
    }
    const float* const u = of.pooled.u + static_cast<int64_t>(n) * of.depth_hidden * c;
    products<kRows>(Matrix<float>{u, c, 0, of.depth_hidden, 1, c}, self, kThreads,
        [&](int, int i) { return has_channel ? s[i] : 1.0f; },
        [&](int unit, int, float value) {
            hidden[unit] = relu(value + to_float(of.depth_squeeze_bias[unit]));
        });
    __syncthreads();
    const int64_t feature = static_cast<int64_t>(first_channel) * d + slice % d;
    products<kRows>(Matrix<W>{of.depth_excite + feature * of.depth_hidden, int64_t{d} * of.depth_hidden, 0,
                 channels, 1, of.depth_hidden},
        self, kThreads, [&](int, int i) { return hidden[i]; },
        [&](int i, int, float value) {
            const float gate
                = sigmoid(value + to_float(of.depth_excite_bias[feature + int64_t{i} * d]));
            gates[i] = (has_channel ? x_scale * s[first_channel + i] : x_scale) * gate;
        });
    __syncthreads();
}

// grid n · d · parts · chunks, the chunks of channels fastest, block (threads of a row, rows), shared
// apply_shared_floats(threads of a row · V, …).
// The slices are taken last first: what the pooling read last is still in the L2 cache.
template <typename X, typename R, typename Y, typename W, int V>
__global__ void __launch_bounds__(kThreads, 3) apply(const X* x, const R* residual, Y* y,
    Gates<W> gates_of, Shape shape, int parts, int chunks, float x_scale, float residual_scale,
    Int8Scale y_scale) {
    DARNET_SHARED(float, gates);
    constexpr int unroll = V == 16 ? kUnroll / 2 : kUnroll;  // more would spill registers
    const int block = gridDim.x - 1 - blockIdx.x;
    const int part = block / chunks % parts;
    const int slice = block / chunks / parts;  // of n·d
    const int lanes = blockDim.x, rows = blockDim.y;
    const int self = threadIdx.y * lanes + threadIdx.x;
    const int c = shape.c;
    const int first_channel = block % chunks * lanes * V;
    const int channel = first_channel + static_cast<int>(threadIdx.x) * V;

    const int first = static_cast<int>(static_cast<int64_t>(shape.hw) * part / parts) + threadIdx.y;
    const int last = static_cast<int>(static_cast<int64_t>(shape.hw) * (part + 1) / parts);
    const int64_t step = static_cast<int64_t>(rows) * c;
    // Threads beyond the last channel help with the gates and have no rows.
    int left = channel < c ? last - first : 0;
    const int64_t at = (static_cast<int64_t>(slice) * shape.hw + first) * c + channel;
    x += at, y += at;
    if (residual != nullptr) residual += at;

    // The pool phase writes none of this, so it need not be waited for.
#pragma unroll
    for (int u = 0; u < unroll; ++u) {
        if (u * rows >= left) continue;
        prefetch(x + u * step);
        if (residual != nullptr) prefetch(residual + u * step);
    }
    prefetch(gates_of.channel_squeeze, gates_of.channel_hidden * c, self, kThreads);
    prefetch(gates_of.channel_excite, gates_of.channel_hidden * c, self, kThreads);
    wait_for_launch_before();
    slice_gates(gates_of, shape, gates, lanes * V, slice, first_channel, x_scale, self);

    float gate_of[V];
#pragma unroll
    for (int i = 0; i < V; ++i) gate_of[i] = channel < c ? gates[threadIdx.x * V + i] : 0.0f;
    for (; left > 0; left -= unroll * rows) {
        Pack<X, V> in[unroll];
        Pack<R, V> shortcut[unroll];
#pragma unroll
        for (int u = 0; u < unroll; ++u) {
            if (u * rows >= left) continue;
            in[u].load_last(x + u * step);
            if (residual != nullptr) shortcut[u].load_last(residual + u * step);
        }
#pragma unroll
        for (int u = 0; u < unroll; ++u) {
            if (u * rows >= left) continue;
            Y out[V];
#pragma unroll
            for (int i = 0; i < V; ++i) {
                float value = in[u].value(i) * gate_of[i];
                if (residual != nullptr)
                    value = relu(fmaf(shortcut[u].value(i), residual_scale, value));
                out[i] = stored<Y>(value, y_scale);
            }
            Pack<Y, V> pack;
            pack.set(out);
            pack.store(y + u * step);
        }
        x += unroll * step, y += unroll * step;
        if (residual != nullptr) residual += unroll * step;
    }
}

}  // namespace darnet
