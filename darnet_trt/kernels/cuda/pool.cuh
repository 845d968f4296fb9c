// Phase 1: sums of x over parts of H·W.
//
// A block adds one part of one slice for a chunk of channels: its threads are (channel group, row).
// Each adds rows in registers, then the rows are added pairwise in shared memory. The order depends
// on the slice's shape alone, so a volume's result is the same in every batch and on every GPU.
#pragma once

#include "elements.cuh"

namespace darnet {

// grid (n·d, parts, chunks), block (groups, rows), shared V · groups · rows floats.
// partial: (n·d, parts, c) float32, sums of stored values.
template <typename X, int V>
__global__ void __launch_bounds__(256)
    pool(const X* __restrict__ x, float* __restrict__ partial, int hw, int c, int parts) {
    DARNET_SHARED(float, shared);
    const int channel = (blockIdx.z * blockDim.x + threadIdx.x) * V;
    const bool active = channel < c;
    const int first = static_cast<int>(static_cast<int64_t>(hw) * blockIdx.y / parts);
    const int last = static_cast<int>(static_cast<int64_t>(hw) * (blockIdx.y + 1) / parts);
    const X* slice = x + static_cast<int64_t>(blockIdx.x) * hw * c + channel;

    float sum[V] = {};
    if (active) {
        const int step = blockDim.y;
        for (int row = first + static_cast<int>(threadIdx.y); row < last; row += kUnroll * step) {
            Pack<X, V> packs[kUnroll];
#pragma unroll
            for (int u = 0; u < kUnroll; ++u)
                if (row + u * step < last)
                    packs[u].load(slice + static_cast<int64_t>(row + u * step) * c);
#pragma unroll
            for (int u = 0; u < kUnroll; ++u)
                if (row + u * step < last)
#pragma unroll
                    for (int i = 0; i < V; ++i) sum[i] += to_float(packs[u].element[i]);
        }
    }

    const int threads = blockDim.x * blockDim.y;
    const int self = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int i = 0; i < V; ++i) shared[i * threads + self] = sum[i];
    __syncthreads();
    for (int rows = blockDim.y; rows > 1;) {
        const int half = (rows + 1) / 2;
        if (static_cast<int>(threadIdx.y) + half < rows) {
#pragma unroll
            for (int i = 0; i < V; ++i)
                shared[i * threads + self] += shared[i * threads + self + half * blockDim.x];
        }
        __syncthreads();
        rows = half;
    }
    if (threadIdx.y == 0 && active) {
        float* out = partial + (static_cast<int64_t>(blockIdx.x) * parts + blockIdx.y) * c + channel;
#pragma unroll
        for (int i = 0; i < V; ++i) out[i] = shared[i * threads + self];
    }
}

}  // namespace darnet
