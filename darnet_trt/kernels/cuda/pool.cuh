// Phase 1: sums of x over parts of H·W, and from them the means of the channels and U.
//
// A block adds one part of one slice for a group of channels: its threads are (channels, row). Each
// adds rows in registers, then a warp's rows are added by shuffles and the warps' in shared memory.
//
// With Z the means over H·W, the depth attention's hidden layer is relu(U · s + b), where
//     U[j, c] = Σ_d squeeze[j, c, d] · Z[c, d]
// does not depend on the channel gates s. So the block that ends last of those that add the same
// channels of the same volume computes U and the means over D, Σ_d Z[c, d] / D, for these channels,
// and no third launch is needed between the pooling and the scaling.
//
// Every order of adding depends on the volume's shape alone, not on which block is the last: a
// volume's result is the same in every run, in every batch and on every GPU.
#pragma once

#include "products.cuh"

namespace darnet {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
// Channels of a group. More would leave the end of the pooling to fewer blocks, less would read less
// than 64 bytes of float16 at a place.
constexpr int kGroupChannels = 32;
// Rows of squeeze whose loads are in flight at once: 4, as a block is alone here; float32 would spill.
template <typename W>
constexpr int kRowsOfSqueeze = sizeof(W) == 4 ? 2 : 4;
constexpr int kTileSlices = 64;  // that the last block of a group has in shared memory at once

// Where number i is in shared memory: one float in 33 is left out, so that neither neighbours nor
// numbers a multiple of 32 apart meet in one bank.
__host__ __device__ constexpr int padded(int i) { return i + i / 32; }

// Floats of shared memory.
__host__ __device__ constexpr int pool_shared_floats(int d) {
    const int tile = padded(kGroupChannels * (d < kTileSlices ? d : kTileSlices));
    const int warps = kWarps * kGroupChannels;
    return (tile > warps ? tile : warps) + 1;  // and what tells the last block
}

struct Shape {
    int n, d, hw, c;
};

// All float32.
struct Pooled {
    float* partial;  // (n, d, parts, c), sums of stored values
    float* means;    // (n, c), over d, h and w; null: not needed
    float* u;        // (n, depth_hidden, c)
};

// int8 is added as integers, which is exact: up to 2²⁴ rows a thread.
template <typename X>
using Sum = std::conditional_t<std::is_same_v<X, int8_t>, int, float>;

template <typename X, int V>
__device__ __forceinline__ void add(Sum<X> (&sum)[V], const Pack<X, V>& pack) {
    if constexpr (std::is_same_v<X, int8_t> && V % 4 == 0) {
#pragma unroll
        for (int i = 0; i < V; ++i)  // one byte times 1, three times 0: no I2F
            sum[i] = __dp4a(static_cast<int>(pack.word(i / 4)), 1 << i % 4 * 8, sum[i]);
    } else if constexpr (std::is_same_v<X, int8_t>) {
        sum[0] += static_cast<int8_t>(pack.raw);
    } else {
#pragma unroll
        for (int i = 0; i < V; ++i) sum[i] += pack.value(i);
    }
}

// Whether this block is the last of `blocks` to come here, and then it sees what the others wrote.
// The counter is 0 before the first and after the last: atomicInc begins anew behind blocks - 1.
// The order is that of cooperative groups' grid barrier and of NVIDIA's sample threadFenceReduction:
// the block's writes, a barrier, a fence, the counter, a fence, a barrier, the block's reads.
__device__ __forceinline__ bool is_last(
    unsigned* counter, unsigned blocks, int self, float* shared) {
    unsigned* const arrived = reinterpret_cast<unsigned*>(shared);
    __syncthreads();
    if (self == 0) {
        __threadfence();
        *arrived = atomicInc(counter, blocks - 1);
        __threadfence();
    }
    __syncthreads();
    return *arrived == blocks - 1;
}

// Means of V neighbouring channels at a time: partial (slices, parts, c) to z[channel · slices + slice].
template <int V>
__device__ __forceinline__ void stage(const float* partial, float* z, float mean_factor, int slices,
    int channels, int c, int parts, int self) {
    const int packs = channels / V;
    for (int i = self; i < slices * packs; i += kThreads) {
        const int slice = i / packs, channel = i % packs * V;
        const float* part = partial + static_cast<int64_t>(slice) * parts * c + channel;
        float sum[V] = {};
#pragma unroll 8
        for (int p = 0; p < parts; ++p, part += c) {
            Pack<float, V> pack;
            pack.load(part);
#pragma unroll
            for (int j = 0; j < V; ++j) sum[j] += pack.value(j);
        }
#pragma unroll
        for (int j = 0; j < V; ++j) z[padded((channel + j) * slices + slice)] = sum[j] * mean_factor;
    }
}

// What the end of a pooling needs; parts and groups are those of the grid.
template <typename W>
struct Pooling {
    Pooled out;
    const W* squeeze;  // (depth_hidden, c · d)
    Shape shape;
    int parts, groups, depth_hidden;
    float mean_factor;
};

// The means and U of a volume for one group of channels.
template <typename W>
__device__ __forceinline__ void finish(
    const Pooling<W>& of, float* z, int volume, int group, int self) {
    const int d = of.shape.d, c = of.shape.c;
    const int first_channel = group * kGroupChannels;
    const int channels = min(kGroupChannels, c - first_channel);
    float* const u = of.out.u + static_cast<int64_t>(volume) * of.depth_hidden * c + first_channel;
    float sum = 0;  // of channel `self`
    for (int tile = 0; tile < d; tile += kTileSlices) {
        const int slices = min(kTileSlices, d - tile);
        const float* const partial = of.out.partial
            + (static_cast<int64_t>(volume) * d + tile) * of.parts * c + first_channel;
        if (c % 4 == 0)
            stage<4>(partial, z, of.mean_factor, slices, channels, c, of.parts, self);
        else
            stage<1>(partial, z, of.mean_factor, slices, channels, c, of.parts, self);
        __syncthreads();
        if (self < channels)
            for (int slice = 0; slice < slices; ++slice) sum += z[padded(self * slices + slice)];
        const Matrix<W> weights{of.squeeze + static_cast<int64_t>(first_channel) * d + tile,
            int64_t{c} * d, d, of.depth_hidden, channels, slices};
        products<kRowsOfSqueeze<W>>(weights, self, kThreads,
            [&](int channel, int slice) { return z[padded(channel * slices + slice)]; },
            [&](int unit, int channel, float value) {
                float* const at = u + static_cast<int64_t>(unit) * c + channel;
                *at = tile == 0 ? value : *at + value;
            });
        __syncthreads();
    }
    if (of.out.means != nullptr && self < channels)
        of.out.means[static_cast<int64_t>(volume) * c + first_channel + self]
            = sum / static_cast<float>(d);
}

// grid n · d · parts · groups, the groups of channels fastest, block (threads of a row, rows),
// shared pool_shared_floats. counters: `count`, all 0; group g of the n · groups uses number
// g % count, and the last block of a counter finishes all its groups.
template <typename X, typename W, int V>
__global__ void __launch_bounds__(kThreads, 3) pool(
    const X* __restrict__ x, Pooling<W> of, unsigned* counters, int count) {
    DARNET_SHARED(float, shared);
    let_next_launch_begin();
    const int d = of.shape.d, hw = of.shape.hw, c = of.shape.c;
    const int group = blockIdx.x % of.groups;
    const int part = blockIdx.x / of.groups % of.parts;
    const int slice = blockIdx.x / of.groups / of.parts;  // of n·d
    const int lanes = blockDim.x, rows = blockDim.y;
    const int self = threadIdx.y * lanes + threadIdx.x;
    const int first_channel = group * kGroupChannels;
    const int channel = first_channel + static_cast<int>(threadIdx.x) * V;

    if (slice % d == d - 1)  // among a volume's last blocks to begin
        for (int unit = part; unit < of.depth_hidden; unit += of.parts)
            prefetch(of.squeeze + (static_cast<int64_t>(unit) * c + first_channel) * d,
                min(kGroupChannels, c - first_channel) * d, self, kThreads);

    Sum<X> sum[V] = {};
    if (channel < c) {
        const int first = static_cast<int>(static_cast<int64_t>(hw) * part / of.parts) + threadIdx.y;
        const int last = static_cast<int>(static_cast<int64_t>(hw) * (part + 1) / of.parts);
        const int64_t step = static_cast<int64_t>(rows) * c;
        const X* from = x + (static_cast<int64_t>(slice) * hw + first) * c + channel;
        for (int left = last - first; left > 0; left -= kUnroll * rows, from += kUnroll * step) {
            Pack<X, V> packs[kUnroll];
#pragma unroll
            for (int u = 0; u < kUnroll; ++u)
                if (u * rows < left) packs[u].load(from + u * step);
#pragma unroll
            for (int u = 0; u < kUnroll; ++u)
                if (u * rows < left) add(sum, packs[u]);
        }
    }

    const int warp = self / 32, lane = self % 32;
#pragma unroll
    for (int i = 0; i < V; ++i) {
        float total = static_cast<float>(sum[i]);
        for (int other = 16; other >= lanes; other /= 2)
            total += __shfl_xor_sync(0xffffffffu, total, other);
        if (lane < lanes) shared[(warp * lanes + lane) * V + i] = total;
    }
    __syncthreads();
    if (self < lanes * V && first_channel + self < c) {
        float total = 0;
#pragma unroll
        for (int w = 0; w < kWarps; ++w) total += shared[w * lanes * V + self];
        of.out.partial[(static_cast<int64_t>(slice) * of.parts + part) * c + first_channel + self]
            = total;
    }

    const int all = of.shape.n * of.groups;
    const int counter = (slice / d * of.groups + group) % count;
    const unsigned shared_by = (all - 1 - counter) / count + 1;
    if (!is_last(counters + counter, shared_by * d * of.parts, self,
            shared + pool_shared_floats(d) - 1))
        return;
    for (int g = counter; g < all; g += count)
        finish(of, shared, g / of.groups, g % of.groups, self);
}

}  // namespace darnet
