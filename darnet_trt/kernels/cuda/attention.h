// The fused attention tail of a block, as a C interface: y = relu(x · gates(x) + residual).
//
// Tensors are dense and channels-last, N D H W C; `reference.py` holds the arithmetic in float64.
// The same functions come from nvcc (pointers on the device, `stream` a cudaStream_t) and from g++
// (pointers on the host, `stream` unused). Apart from the two that make and free counters, none of
// them allocates, synchronizes or keeps state, so they may be called while a CUDA graph is captured
// and from several threads.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define DARNET_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

// Numbered as nvinfer1::DataType.
enum DarnetType { DARNET_FLOAT32 = 0, DARNET_FLOAT16 = 1, DARNET_INT8 = 2, DARNET_BFLOAT16 = 7 };

// What to compute. Everything but the pointers, so that it can be checked before there are any.
struct DarnetAttention {
    int32_t n, d, h, w, c;
    int32_t channel_hidden;  // outputs of the channel attention's first layer; 0: there is none
    int32_t depth_hidden;    // outputs of the depth attention's first layer; 0: there is none
    int32_t weight_type;     // of all gate parameters: float32, float16 or bfloat16
    int32_t x_type, residual_type, y_type;       // weight_type or int8, each for itself
    float x_scale, residual_scale, y_scale;      // of int8 tensors: value = scale · stored
    int32_t has_residual;    // 0: y = x · gates(x), without the ReLU too; residual_* are not read
};

// Two linear layers, row-major (outputs, inputs) as torch keeps them. Features of the channel gate
// are c; of the depth gate c·D + d.
struct DarnetGate {
    const void* squeeze_weight;  // (hidden, features)
    const void* squeeze_bias;    // (hidden)
    const void* excite_weight;   // (features, hidden)
    const void* excite_bias;     // (features)
};

// Addresses are multiples of 16 bytes, those of biases of their element's size.
struct DarnetTensors {
    const void* x;         // (n, d, h, w, c)
    const void* residual;  // the same, or null
    struct DarnetGate channel, depth;  // null where the gate is absent
    void* y;               // (n, d, h, w, c); may be x or residual, if of the same type
    void* workspace;       // for one launch; its content before and after means nothing
    size_t workspace_bytes;
    // DARNET_COUNTER_BYTES that are zero, and zero again when the launch has run: they tell blocks
    // which of them ends last. Launches that may run at once need counters of their own.
    void* counters;
};

#define DARNET_COUNTER_BYTES 1024

enum DarnetPhase { DARNET_POOL = 0, DARNET_APPLY = 1, DARNET_PHASES = 2 };

// What one phase launches and moves. Bytes are those that must cross the memory bus once: tensors,
// gate parameters and the workspace between blocks and phases.
struct DarnetCost {
    int64_t bytes_read, bytes_written;
    int32_t grid[3], block[2];
    int32_t shared_bytes;
};

// All return 0 when done; else they write one line into `message` (always terminated) that names
// what was expected and found, and touch no tensor. A CUDA error is such a line, too.
DARNET_EXPORT int darnet_attention_check(
    const struct DarnetAttention*, char* message, size_t message_size);
DARNET_EXPORT int darnet_attention_launch(const struct DarnetAttention*,
    const struct DarnetTensors*, void* stream, char* message, size_t message_size);
// One phase alone, for measuring; it finds in the workspace what the phase before it left.
DARNET_EXPORT int darnet_attention_launch_phase(const struct DarnetAttention*,
    const struct DarnetTensors*, int phase, void* stream, char* message, size_t message_size);

// Counters in the memory of the current device, or null and one line in `message`. Not while a CUDA
// graph is captured.
DARNET_EXPORT void* darnet_attention_new_counters(char* message, size_t message_size);
DARNET_EXPORT void darnet_attention_delete_counters(void*);

// For a problem that passed the check. The workspace of a shape is large enough for one that is as
// long or shorter along n, d, h and w.
DARNET_EXPORT size_t darnet_attention_workspace(const struct DarnetAttention*);
DARNET_EXPORT void darnet_attention_cost(
    const struct DarnetAttention*, int phase, struct DarnetCost*);

// "cuda sm_75 sm_80 … ptx_90" or "cpu", from the build.
DARNET_EXPORT const char* darnet_attention_target(void);
// CUDART_VERSION of the CUDA that compiled it, 13000 for 13.0; 0 of the CPU build.
DARNET_EXPORT int darnet_attention_toolkit(void);

#ifdef __cplusplus
}
#endif
