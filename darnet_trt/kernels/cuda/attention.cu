// The two phases behind the C interface: checks, sizes, and the choice of a kernel.

#include "attention.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <limits>

#include "launch.cuh"

#include "apply.cuh"

#ifndef DARNET_TARGET
#ifdef __CUDACC__
#error "the build says DARNET_TARGET, the architectures it compiles for"
#else
#define DARNET_TARGET "cpu"
#endif
#endif

namespace {

using namespace darnet;

constexpr int kAlignment = 16;  // bytes, of every pointer but the biases: one access
// Parts of a slice: enough blocks to fill a large GPU at the paper's sizes (64 to 8 slices a
// volume), few enough that one block can add the parts of a group of channels.
constexpr int kMaxParts = 16;
// Rounds of kUnroll rows that a thread has at least: more parts would add latency, not bandwidth.
constexpr int kPoolRounds = 2;
constexpr int kApplyRounds = 1;
constexpr int kNarrowPack = 8;  // elements of int8: a network's first stage may have 8 or 24 channels
constexpr int kMaxSharedBytes = 48 * 1024;  // what every GPU grants without being asked
constexpr int kCounters = DARNET_COUNTER_BYTES / static_cast<int>(sizeof(unsigned));
// The last block of a counter steps over groups, of which there may be as many as blocks.
constexpr int64_t kMaxGrid = std::numeric_limits<int32_t>::max() - kCounters;
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

// How pool and apply are cut; depends on one volume's shape and the types alone.
struct Plan {
    // Elements a thread takes at once: 16 bytes of the widest tensor, 8 where all are int8 and that
    // is what divides the channels, or 1.
    int vector;
    int groups, rows;  // a block's threads: of one row, and rows
    int chunks;  // of the channels, where a block's threads do not cover them
    int parts;
    int most_parts;  // of this and any smaller h · w, which may have more
};

Plan cut(const DarnetAttention& a, int widest, int most_channels, int least_rounds) {
    Plan p{};
    p.vector = 16 / widest;
    if (widest == 1 && a.c % 16 != 0) p.vector = kNarrowPack;
    if (a.c % p.vector != 0) p.vector = 1;
    const int most = std::min(kThreads, most_channels / p.vector);
    const int needed = (a.c + p.vector - 1) / p.vector;
    p.groups = 1;
    while (p.groups < most && p.groups < needed) p.groups *= 2;
    p.rows = kThreads / p.groups;
    p.chunks = (needed + p.groups - 1) / p.groups;
    // As few parts as do not add to the rounds of the longest.
    const auto ceiling = [](int number, int of) { return (number + of - 1) / of; };
    const int rounds = ceiling(a.h * a.w, p.rows * kUnroll);
    p.parts = ceiling(rounds, std::max(ceiling(rounds, kMaxParts), least_rounds));
    p.most_parts = std::min(kMaxParts, ceiling(rounds, least_rounds));
    return p;
}

Plan pool_plan(const DarnetAttention& a) {
    return cut(a, type_size(a.x_type), kGroupChannels, kPoolRounds);
}

Plan apply_plan(const DarnetAttention& a) {
    int widest = std::max(type_size(a.x_type), type_size(a.y_type));
    if (a.has_residual) widest = std::max(widest, type_size(a.residual_type));
    return cut(a, widest, std::numeric_limits<int>::max(), kApplyRounds);
}

int64_t blocks(const DarnetAttention& a, const Plan& p) {
    return int64_t{a.n} * a.d * p.parts * p.chunks;
}

int64_t pool_shared_bytes(const DarnetAttention& a) { return 4 * int64_t{pool_shared_floats(a.d)}; }

int64_t apply_shared_bytes(const DarnetAttention& a, const Plan& p) {
    return 4 * apply_shared_floats(p.groups * p.vector, a.c, a.channel_hidden, a.depth_hidden);
}

// Floats of the workspace: the sums, and the room for them.
struct Sizes {
    int64_t partial, room, means, u;
};

// The room grows with every length, so that a workspace for the largest shape of a range is one for
// each. The sums do not: 8,192 places may have 16 parts where 8,193 have 11.
Sizes sizes(const DarnetAttention& a) {
    const Plan p = pool_plan(a);
    const int64_t channels = int64_t{a.n} * a.c, slices = channels * a.d;
    return {slices * p.parts, (slices * p.most_parts + 3) / 4 * 4,
        a.channel_hidden > 0 ? channels : 0, channels * a.depth_hidden};
}

// U begins at a multiple of 16 bytes.
Pooled divide(const DarnetAttention& a, void* memory) {
    const Sizes s = sizes(a);
    float* const partial = static_cast<float*>(memory);
    float* const u = partial + s.room;
    return {partial, s.means > 0 ? u + s.u : nullptr, u};
}

Shape shape(const DarnetAttention& a) { return {a.n, a.d, a.h * a.w, a.c}; }

template <typename X, typename W>
const char* launch_pool(const DarnetAttention& a, const DarnetTensors& t, void* stream) {
    const Plan p = pool_plan(a);
    const float scale = a.x_type == DARNET_INT8 ? a.x_scale : 1.0f;
    const Pooling<W> of{divide(a, t.workspace), static_cast<const W*>(t.depth.squeeze_weight),
        shape(a), p.parts, p.chunks, a.depth_hidden,
        scale / (static_cast<float>(a.h) * static_cast<float>(a.w))};
    const auto run = [&](auto kernel) {
        return launch(kernel, dim3(static_cast<unsigned>(blocks(a, p))), dim3(p.groups, p.rows),
            static_cast<size_t>(pool_shared_bytes(a)), stream, static_cast<const X*>(t.x), of,
            static_cast<unsigned*>(t.counters), kCounters);
    };
    if constexpr (sizeof(X) == 1)
        if (p.vector == kNarrowPack) return run(pool<X, W, kNarrowPack>);
    return p.vector == 1 ? run(pool<X, W, 1>) : run(pool<X, W, kPerAccess<X>>);
}

template <typename X, typename R, typename Y, typename W>
const char* launch_apply(const DarnetAttention& a, const DarnetTensors& t, void* stream) {
    const Plan p = apply_plan(a);
    const auto weights = [](const void* p) { return static_cast<const W*>(p); };
    const Gates<W> gates{divide(a, t.workspace), weights(t.channel.squeeze_weight),
        weights(t.channel.squeeze_bias), weights(t.channel.excite_weight),
        weights(t.channel.excite_bias), weights(t.depth.squeeze_bias),
        weights(t.depth.excite_weight), weights(t.depth.excite_bias), a.channel_hidden,
        a.depth_hidden};
    const auto run = [&](auto kernel) {
        return launch_dependent(kernel, dim3(static_cast<unsigned>(blocks(a, p))),
            dim3(p.groups, p.rows), static_cast<size_t>(apply_shared_bytes(a, p)), stream,
            static_cast<const X*>(t.x), static_cast<const R*>(a.has_residual ? t.residual : nullptr),
            static_cast<Y*>(t.y), gates, shape(a), p.parts, p.chunks,
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
        return with_type(a.x_type, w, [&](auto x) {
            using X = decltype(x);
            if (phase == DARNET_POOL) return launch_pool<X, W>(a, t, stream);
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
        || check_pointer("the workspace", t.workspace, message, size)
        || check_pointer("the memory of the counters", t.counters, message, size, alignof(unsigned)))
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
    const bool can_be_cut = int64_t{a.h} * a.w <= kMaxLength && int64_t{a.c} * a.d <= kMaxLength
        && static_cast<double>(a.n) * a.d * a.h * a.w * a.c <= kMaxElements;
    if (!can_be_cut || std::max(blocks(a, pool_plan(a)), blocks(a, apply_plan(a))) > kMaxGrid)
        return fail(message, size, "%d×%d×%d×%d×%d (n d h w c) is larger than a launch can be",
            a.n, a.d, a.h, a.w, a.c);
    const int64_t shared = apply_shared_bytes(a, apply_plan(a));
    if (shared > kMaxSharedBytes)
        return fail(message, size,
            "%d channels with %d and %d hidden units need %lld bytes of shared memory; there are %d",
            a.c, a.channel_hidden, a.depth_hidden, static_cast<long long>(shared), kMaxSharedBytes);
    return 0;
}

size_t darnet_attention_workspace(const DarnetAttention* problem) {
    const Sizes s = sizes(*problem);
    return 4 * static_cast<size_t>(s.room + s.u + s.means);
}

void* darnet_attention_new_counters(char* message, size_t size) {
    const char* error = nullptr;
    void* const counters = new_zeroed(DARNET_COUNTER_BYTES, &error);
    if (counters == nullptr)
        fail(message, size, "no memory for %d bytes of counters: %s", DARNET_COUNTER_BYTES, error);
    return counters;
}

void darnet_attention_delete_counters(void* counters) { delete_zeroed(counters); }

int darnet_attention_launch_phase(const DarnetAttention* problem, const DarnetTensors* tensors,
    int phase, void* stream, char* message, size_t size) {
    if (darnet_attention_check(problem, message, size)) return 1;
    if (check_tensors(*problem, *tensors, message, size)) return 1;
    if (phase < 0 || phase >= DARNET_PHASES)
        return fail(message, size, "phase must be 0 or 1; it is %d", phase);
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
    const Sizes s = sizes(a);
    const Plan p = phase == DARNET_POOL ? pool_plan(a) : apply_plan(a);
    *cost = {};
    cost->grid[0] = static_cast<int32_t>(blocks(a, p)), cost->grid[1] = 1, cost->grid[2] = 1;
    cost->block[0] = p.groups, cost->block[1] = p.rows;
    if (phase == DARNET_POOL) {
        cost->bytes_read = elements * type_size(a.x_type) + 4 * s.partial
            + weight * features * a.depth_hidden;
        cost->bytes_written = 4 * (s.partial + s.means + s.u);
        cost->shared_bytes = static_cast<int32_t>(pool_shared_bytes(a));
        return;
    }
    const int64_t channel = a.channel_hidden > 0
        ? 2 * int64_t{a.c} * a.channel_hidden + a.channel_hidden + a.c : 0;
    const int64_t depth
        = a.depth_hidden > 0 ? features * (a.depth_hidden + 1) + a.depth_hidden : 0;
    cost->bytes_read = elements * type_size(a.x_type)
        + (a.has_residual ? elements * type_size(a.residual_type) : 0) + 4 * (s.means + s.u)
        + weight * (channel + depth);
    cost->bytes_written = elements * type_size(a.y_type);
    cost->shared_bytes = static_cast<int32_t>(apply_shared_bytes(a, p));
}

const char* darnet_attention_target(void) { return DARNET_TARGET; }

int darnet_attention_toolkit(void) {
#ifdef __CUDACC__
    return CUDART_VERSION;
#else
    return 0;
#endif
}
