// The three phases behind the C interface: checks, sizes, and the choice of a kernel.

#include "attention.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <limits>

#include "launch.cuh"

#include "apply.cuh"
#include "gate.cuh"
#include "pool.cuh"

#ifndef DARNET_TARGET
#ifdef __CUDACC__
#error "the build says DARNET_TARGET, the architectures it compiles for"
#else
#define DARNET_TARGET "cpu"
#endif
#endif

namespace {

using namespace darnet;

constexpr int kThreads = 256;
constexpr int kAlignment = 16;  // bytes, of every pointer but the biases: one access
// Parts of a slice: enough blocks to fill a large GPU at the paper's sizes (64 to 8 slices a
// volume), few enough that every block of the gate phase can add the pooled parts.
constexpr int kMaxParts = 16;
// Rounds of kUnroll rows that a thread has at least: more parts would add latency, not bandwidth.
constexpr int kPoolRounds = 2;
constexpr int kApplyRounds = 1;
constexpr int kNarrowPack = 8;  // elements of int8: a network's first stage may have 8 or 24 channels
constexpr int kMaxSharedBytes = 48 * 1024;  // what every GPU grants without being asked
constexpr int64_t kMaxGrid = std::numeric_limits<int32_t>::max();
constexpr int kMaxGridYZ = 65535;
constexpr int64_t kMaxLength = int64_t{1} << 30;  // of a loop: 32-bit counters may overshoot
constexpr double kMaxElements = 0x1p60;

int fail(char* message, size_t size, const char* format, ...) {
    if (message != nullptr && size > 0) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(message, size, format, arguments);
        va_end(arguments);
    }
    return 1;
}

const char* type_name(int type) {
    switch (type) {
        case DARNET_FLOAT32: return "float32";
        case DARNET_FLOAT16: return "float16";
        case DARNET_BFLOAT16: return "bfloat16";
        case DARNET_INT8: return "int8";
        default: return "an unknown type";
    }
}

int type_size(int type) {
    return type == DARNET_FLOAT32 ? 4 : type == DARNET_INT8 ? 1 : 2;
}

bool staged(const DarnetAttention& a) {
    return int64_t{4} * a.c * a.d < kMaxSharedBytes
        && 4 * gate_shared_floats(a.c, a.d, a.channel_hidden, true) <= kMaxSharedBytes;
}

// How pool and apply are cut; depends on one volume's shape and the types alone.
struct Plan {
    // Elements a thread takes at once: 16 bytes of the widest tensor, 8 where all are int8 and that
    // is what divides the channels, or 1.
    int vector;
    int groups, rows;  // a block's threads: of one row, and rows
    int chunks;  // of the channels, where a block's threads do not cover them
    int parts;
};

Plan cut(const DarnetAttention& a, int widest, int rounds) {
    Plan p{};
    p.vector = 16 / widest;
    if (widest == 1 && a.c % 16 != 0) p.vector = kNarrowPack;
    if (a.c % p.vector != 0) p.vector = 1;
    const int needed = (a.c + p.vector - 1) / p.vector;
    p.groups = 1;
    while (p.groups < kThreads && p.groups < needed) p.groups *= 2;
    p.rows = kThreads / p.groups;
    p.chunks = (needed + p.groups - 1) / p.groups;
    p.parts = std::clamp(a.h * a.w / (p.rows * kUnroll * rounds), 1, kMaxParts);
    return p;
}

Plan pool_plan(const DarnetAttention& a) {
    Plan p = cut(a, type_size(a.x_type), kPoolRounds);
    if (!staged(a)) p.parts = 1;  // then the gate reads the sums where the pooling left them
    return p;
}

Plan apply_plan(const DarnetAttention& a) {
    int widest = std::max(type_size(a.x_type), type_size(a.y_type));
    if (a.has_residual) widest = std::max(widest, type_size(a.residual_type));
    return cut(a, widest, kApplyRounds);
}

int gate_blocks(const DarnetAttention& a) {
    const int blocks = (a.depth_hidden + kUnitsPerBlock - 1) / kUnitsPerBlock;
    return blocks > 1 ? blocks : 1;
}

int64_t partial_floats(const DarnetAttention& a) {
    return int64_t{a.n} * a.d * pool_plan(a).parts * a.c;
}

struct Workspace {
    float *partial, *channel_gates, *hidden;
};

Workspace divide(const DarnetAttention& a, void* memory) {
    float* const partial = static_cast<float*>(memory);
    float* const gates = partial + partial_floats(a);
    return {partial, gates, gates + int64_t{a.n} * (a.channel_hidden > 0 ? a.c : 0)};
}

template <typename X>
const char* launch_pool(const DarnetAttention& a, const DarnetTensors& t, void* stream) {
    const Plan p = pool_plan(a);
    const dim3 grid(a.n * a.d, p.parts, p.chunks), block(p.groups, p.rows);
    const size_t shared = size_t{4} * p.vector * kThreads;
    const auto run = [&](auto kernel) {
        return launch(kernel, grid, block, shared, stream, static_cast<const X*>(t.x),
            divide(a, t.workspace).partial, a.h * a.w, a.c, p.parts);
    };
    if constexpr (sizeof(X) == 1)
        if (p.vector == kNarrowPack) return run(pool<X, kNarrowPack>);
    return p.vector == 1 ? run(pool<X, 1>) : run(pool<X, kPerAccess<X>>);
}

template <typename W>
const char* launch_gate(const DarnetAttention& a, const DarnetTensors& t, void* stream) {
    const Workspace work = divide(a, t.workspace);
    const bool stage = staged(a);
    const float scale = a.x_type == DARNET_INT8 ? a.x_scale : 1.0f;
    const auto weights = [](const void* p) { return static_cast<const W*>(p); };
    return launch(gate<W>, dim3(gate_blocks(a), a.n, 1), dim3(kGateThreads),
        size_t{4} * gate_shared_floats(a.c, a.d, a.channel_hidden, stage), stream, work.partial,
        weights(t.channel.squeeze_weight), weights(t.channel.squeeze_bias),
        weights(t.channel.excite_weight), weights(t.channel.excite_bias),
        weights(t.depth.squeeze_weight), weights(t.depth.squeeze_bias), work.channel_gates,
        work.hidden, scale / (static_cast<float>(a.h) * static_cast<float>(a.w)), a.d, a.c,
        pool_plan(a).parts, a.channel_hidden, a.depth_hidden, stage);
}

template <typename X, typename R, typename Y, typename W>
const char* launch_apply(const DarnetAttention& a, const DarnetTensors& t, void* stream) {
    const Plan p = apply_plan(a);
    const Workspace work = divide(a, t.workspace);
    const dim3 grid(a.n * a.d, p.parts, p.chunks), block(p.groups, p.rows);
    const auto run = [&](auto kernel) {
        return launch(kernel, grid, block, size_t{4} * p.groups * p.vector, stream,
            static_cast<const X*>(t.x), static_cast<const R*>(a.has_residual ? t.residual : nullptr),
            static_cast<Y*>(t.y), a.channel_hidden > 0 ? work.channel_gates : nullptr, work.hidden,
            static_cast<const W*>(t.depth.excite_weight),
            static_cast<const W*>(t.depth.excite_bias), a.d, a.h * a.w, a.c, p.parts, a.depth_hidden,
            a.x_type == DARNET_INT8 ? a.x_scale : 1.0f,
            a.residual_type == DARNET_INT8 ? a.residual_scale : 1.0f,
            Int8Scale{a.y_scale, 1.0f / a.y_scale, -128.0f * a.y_scale, 127.0f * a.y_scale});
    };
    constexpr int widest = static_cast<int>(std::max({sizeof(X), sizeof(R), sizeof(Y)}));
    if constexpr (widest == 1)
        if (p.vector == kNarrowPack) return run(apply<X, R, Y, W, kNarrowPack>);
    return p.vector == 1 ? run(apply<X, R, Y, W, 1>) : run(apply<X, R, Y, W, 16 / widest>);
}

// Calls f with a value of the type: f(float{}), f(__half{}), …
template <typename F>
const char* with_float(int type, F f) {
    switch (type) {
        case DARNET_FLOAT16: return f(__half{});
        case DARNET_BFLOAT16: return f(__nv_bfloat16{});
        default: return f(float{});
    }
}

template <typename W, typename F>
const char* with_type(int type, W weight, F f) {
    return type == DARNET_INT8 ? f(int8_t{}) : f(weight);
}

const char* launch_phase(
    const DarnetAttention& a, const DarnetTensors& t, int phase, void* stream) {
    return with_float(a.weight_type, [&](auto w) {
        using W = decltype(w);
        if (phase == DARNET_GATE) return launch_gate<W>(a, t, stream);
        return with_type(a.x_type, w, [&](auto x) {
            using X = decltype(x);
            if (phase == DARNET_POOL) return launch_pool<X>(a, t, stream);
            return with_type(a.y_type, w, [&](auto y) {
                using Y = decltype(y);
                // Without a residual its type is x's: no kernel of its own for it.
                return with_type(a.has_residual ? a.residual_type : a.x_type, w, [&](auto r) {
                    return launch_apply<X, decltype(r), Y, W>(a, t, stream);
                });
            });
        });
    });
}

int check_type(const DarnetAttention& a, const char* name, int type, float scale, char* message,
    size_t size) {
    if (type != DARNET_INT8 && type != a.weight_type)
        return fail(message, size, "%s must be %s, as the gate parameters, or int8; it is %s", name,
            type_name(a.weight_type), type_name(type));
    if (type == DARNET_INT8 && !(std::isnormal(scale) && scale > 0))
        return fail(message, size, "%s is int8 and needs a scale above 0 and not subnormal; it is %g", name,
            static_cast<double>(scale));
    return 0;
}

int check_pointer(
    const char* name, const void* p, char* message, size_t size, int alignment = kAlignment) {
    if (p == nullptr) return fail(message, size, "%s is a null pointer", name);
    if (reinterpret_cast<uintptr_t>(p) % static_cast<uintptr_t>(alignment) != 0)
        return fail(message, size, "%s must be aligned to %d bytes; it is at %p", name, alignment, p);
    return 0;
}

int check_gate(const char* kind, const DarnetGate& g, int type, char* message, size_t size) {
    const int element = type_size(type);  // biases are read one at a time
    const struct { const char* name; const void* p; int alignment; } parameters[] = {
        {"squeeze_weight", g.squeeze_weight, kAlignment},
        {"squeeze_bias", g.squeeze_bias, element},
        {"excite_weight", g.excite_weight, kAlignment},
        {"excite_bias", g.excite_bias, element}};
    for (const auto& parameter : parameters) {
        char name[64];
        snprintf(name, sizeof name, "%s_%s", kind, parameter.name);
        if (check_pointer(name, parameter.p, message, size, parameter.alignment)) return 1;
    }
    return 0;
}

int check_tensors(const DarnetAttention& a, const DarnetTensors& t, char* message, size_t size) {
    if (check_pointer("x", t.x, message, size) || check_pointer("y", t.y, message, size)
        || check_pointer("the workspace", t.workspace, message, size))
        return 1;
    if (a.has_residual && check_pointer("residual", t.residual, message, size)) return 1;
    if ((t.y == t.x && a.y_type != a.x_type)
        || (a.has_residual && t.y == t.residual && a.y_type != a.residual_type))
        return fail(message, size, "y may only lie over a tensor of its type; it is %s over %s",
            type_name(a.y_type), type_name(t.y == t.x ? a.x_type : a.residual_type));
    if (a.channel_hidden > 0 && check_gate("channel", t.channel, a.weight_type, message, size))
        return 1;
    if (a.depth_hidden > 0 && check_gate("depth", t.depth, a.weight_type, message, size)) return 1;
    const size_t needed = darnet_attention_workspace(&a);
    if (t.workspace_bytes < needed)
        return fail(message, size, "the workspace must have %zu bytes; it has %zu", needed,
            t.workspace_bytes);
    return 0;
}

}  // namespace

int darnet_attention_check(const DarnetAttention* problem, char* message, size_t size) {
    const DarnetAttention& a = *problem;
    const struct { const char* name; int32_t value; } lengths[]
        = {{"n", a.n}, {"d", a.d}, {"h", a.h}, {"w", a.w}, {"c", a.c}};
    for (const auto& length : lengths)
        if (length.value < 1)
            return fail(message, size, "%s must be at least 1; it is %d", length.name, length.value);
    const struct { const char* name; int32_t value; } hidden[]
        = {{"channel_hidden", a.channel_hidden}, {"depth_hidden", a.depth_hidden}};
    for (const auto& units : hidden)
        if (units.value < 0 || units.value > kMaxLength)
            return fail(message, size, "%s must be 0 to %lld; it is %d", units.name,
                static_cast<long long>(kMaxLength), units.value);
    if (a.channel_hidden == 0 && a.depth_hidden == 0)
        return fail(message, size, "neither the channel nor the depth attention has hidden units");
    if (a.weight_type != DARNET_FLOAT32 && a.weight_type != DARNET_FLOAT16
        && a.weight_type != DARNET_BFLOAT16)
        return fail(message, size, "gate parameters must be float32, float16 or bfloat16, not %s",
            type_name(a.weight_type));
    if (check_type(a, "x", a.x_type, a.x_scale, message, size)
        || check_type(a, "y", a.y_type, a.y_scale, message, size))
        return 1;
    if (a.has_residual
        && check_type(a, "residual", a.residual_type, a.residual_scale, message, size))
        return 1;
    if (int64_t{a.n} * a.d > kMaxGrid || int64_t{a.h} * a.w > kMaxLength || a.n > kMaxGridYZ
        || int64_t{a.c} * a.d > kMaxLength || a.c > kMaxGridYZ * kThreads
        || static_cast<double>(a.n) * a.d * a.h * a.w * a.c > kMaxElements)
        return fail(message, size, "%d×%d×%d×%d×%d (n d h w c) is larger than a launch can be",
            a.n, a.d, a.h, a.w, a.c);
    const int64_t shared = int64_t{4} * gate_shared_floats(a.c, a.d, a.channel_hidden, false);
    if (shared > kMaxSharedBytes)
        return fail(message, size,
            "%d channels with %d hidden units need %lld bytes of shared memory; there are %d", a.c,
            a.channel_hidden, static_cast<long long>(shared), kMaxSharedBytes);
    return 0;
}

size_t darnet_attention_workspace(const DarnetAttention* problem) {
    const DarnetAttention& a = *problem;
    const int64_t gates = int64_t{a.n} * (a.channel_hidden > 0 ? a.c : 0);
    return 4 * static_cast<size_t>(partial_floats(a) + gates + int64_t{a.n} * a.depth_hidden);
}

int darnet_attention_launch_phase(const DarnetAttention* problem, const DarnetTensors* tensors,
    int phase, void* stream, char* message, size_t size) {
    if (darnet_attention_check(problem, message, size)) return 1;
    if (check_tensors(*problem, *tensors, message, size)) return 1;
    if (phase < 0 || phase >= DARNET_PHASES)
        return fail(message, size, "phase must be 0, 1 or 2; it is %d", phase);
    const char* error = launch_phase(*problem, *tensors, phase, stream);
    return error == nullptr ? 0 : fail(message, size, "CUDA: %s; this library is for %s", error,
        DARNET_TARGET);
}

int darnet_attention_launch(const DarnetAttention* problem, const DarnetTensors* tensors,
    void* stream, char* message, size_t size) {
    for (int phase = 0; phase < DARNET_PHASES; ++phase)
        if (darnet_attention_launch_phase(problem, tensors, phase, stream, message, size)) return 1;
    return 0;
}

void darnet_attention_cost(const DarnetAttention* problem, int phase, DarnetCost* cost) {
    const DarnetAttention& a = *problem;
    const int64_t elements = int64_t{a.n} * a.d * a.h * a.w * a.c;
    const int64_t features = int64_t{a.c} * a.d, weight = type_size(a.weight_type);
    const int64_t partial = 4 * partial_floats(a);
    const int64_t gates = a.channel_hidden > 0 ? int64_t{4} * a.n * a.c : 0;
    const int64_t hidden = int64_t{4} * a.n * a.depth_hidden;
    *cost = {};
    if (phase == DARNET_GATE) {
        const int64_t channel = a.channel_hidden > 0
            ? weight * (2 * int64_t{a.c} * a.channel_hidden + a.channel_hidden + a.c) : 0;
        cost->bytes_read = partial + channel + weight * a.depth_hidden * (features + 1);
        cost->bytes_written = gates + hidden;
        cost->grid[0] = gate_blocks(a), cost->grid[1] = a.n, cost->grid[2] = 1;
        cost->block[0] = kGateThreads, cost->block[1] = 1;
        cost->shared_bytes = 4 * gate_shared_floats(a.c, a.d, a.channel_hidden, staged(a));
        return;
    }
    const Plan p = phase == DARNET_POOL ? pool_plan(a) : apply_plan(a);
    cost->grid[0] = a.n * a.d, cost->grid[1] = p.parts, cost->grid[2] = p.chunks;
    cost->block[0] = p.groups, cost->block[1] = p.rows;
    if (phase == DARNET_POOL) {
        cost->bytes_read = elements * type_size(a.x_type);
        cost->bytes_written = partial;
        cost->shared_bytes = 4 * p.vector * kThreads;
    } else {
        cost->bytes_read = elements * type_size(a.x_type)
            + (a.has_residual ? elements * type_size(a.residual_type) : 0) + gates + hidden
            + (a.depth_hidden > 0 ? weight * features * (a.depth_hidden + 1) : 0);
        cost->bytes_written = elements * type_size(a.y_type);
        cost->shared_bytes = 4 * p.groups * p.vector;
    }
}

const char* darnet_attention_target(void) { return DARNET_TARGET; }

int darnet_attention_toolkit(void) {
#ifdef __CUDACC__
    return CUDART_VERSION;
#else
    return 0;
#endif
}
