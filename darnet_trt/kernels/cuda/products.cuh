// What the gates are made of: products of a weight matrix with a vector, and the sigmoid.
#pragma once

#include "elements.cuh"

namespace darnet {

__device__ __forceinline__ float sigmoid(float v) { return 1.0f / (1.0f + expf(-v)); }

// Rows of a matrix, each cut into as many columns, each with a vector of `length` numbers.
template <typename W>
struct Matrix {
    const W* first;
    int64_t row_stride, column_stride;
    int rows, columns, length;
};

// Calls done(row, column, Σ number i of the vector · value(column, i)) once for every vector. All
// threads of the block call this; `self` is the number of one of them.
//
// Neighbouring threads share a sum, so that they read neighbouring weights, 16 bytes each. A thread
// adds `Rows` rows at once, whose loads are in flight together. Which thread adds what follows from
// the sizes alone.
template <int Rows, typename W, typename Value, typename Done>
__device__ __forceinline__ void products(
    const Matrix<W>& of, int self, int threads, Value value, Done done) {
    constexpr int V = kPerAccess<W>;
    const int length = of.length;
    // Then every vector begins at a multiple of 16 bytes.
    const bool whole = length % V == 0 && of.row_stride % V == 0 && of.column_stride % V == 0;
    int lanes = 1;  // of a sum: a power of two
    while (lanes < 32 && lanes * V < length) lanes *= 2;
    const int lane = self % lanes;
    const int sums = (of.rows + Rows - 1) / Rows * of.columns;
    const int all = (sums * lanes + 31) / 32 * 32;  // whole warps take part in the shuffles
    for (int task = self; task < all; task += threads) {
        const int at = task / lanes;
        const int first = at / of.columns * Rows, column = at % of.columns;
        const int here = at < sums ? min(of.rows - first, Rows) : 0;
        const W* row = of.first + first * of.row_stride + column * of.column_stride;
        float sum[Rows] = {};
        if (whole) {
#pragma unroll 1
            for (int i = lane * V; i < length; i += lanes * V) {
                Pack<W, V> weights[Rows];
#pragma unroll
                for (int r = 0; r < Rows; ++r)
                    if (r < here) weights[r].load(row + r * of.row_stride + i);
#pragma unroll
                for (int j = 0; j < V; ++j) {
                    const float factor = here > 0 ? value(column, i + j) : 0.0f;
#pragma unroll
                    for (int r = 0; r < Rows; ++r)
                        if (r < here) sum[r] += weights[r].value(j) * factor;
                }
            }
        } else {
#pragma unroll 2
            for (int i = lane; i < length; i += lanes) {
                const float factor = here > 0 ? value(column, i) : 0.0f;
#pragma unroll
                for (int r = 0; r < Rows; ++r)
                    if (r < here) sum[r] += to_float(row[r * of.row_stride + i]) * factor;
            }
        }
#pragma unroll
        for (int r = 0; r < Rows; ++r) {
            for (int other = lanes / 2; other > 0; other /= 2)
                sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], other);
            if (r < here && lane == 0) done(first + r, column, sum[r]);
        }
    }
}

// Asks the L2 cache for what is needed later.
template <typename T>
__device__ __forceinline__ void prefetch(const T* p) {
#ifdef __CUDA_ARCH__
    asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
#endif
}

template <typename T>
__device__ __forceinline__ void prefetch(const T* first, int count, int self, int threads) {
    constexpr int line = 128 / sizeof(T);
    for (int i = self * line; i < count; i += threads * line) prefetch(first + i);
}

}  // namespace darnet
