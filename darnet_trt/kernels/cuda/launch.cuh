// What differs between nvcc and g++: launching a kernel, its shared memory, and zeroed memory.
#pragma once

#ifdef __CUDACC__

#include <cuda_runtime.h>

#define DARNET_SHARED(type, name)                                 \
    extern __shared__ __align__(16) unsigned char name##_bytes[]; \
    type* const name = reinterpret_cast<type*>(name##_bytes)

namespace darnet {

// Programmatic dependent launch (CUDA C++ Programming Guide, of compute capability 9.0 and up): a
// kernel launched by launch_dependent may begin when all blocks of the kernel before it have called
// let_next_launch_begin; it must call wait_for_launch_before before it reads what that one writes.
// Elsewhere both do nothing, and kernels follow each other whole.
__device__ __forceinline__ void let_next_launch_begin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

__device__ __forceinline__ void wait_for_launch_before() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

inline const char* text_of(cudaError_t error) {
    return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

// The launch's own error as text, or null.
template <typename... Parameters, typename... Arguments>
const char* launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
    void* stream, Arguments... arguments) {
    kernel<<<grid, block, shared_bytes, static_cast<cudaStream_t>(stream)>>>(arguments...);
    return text_of(cudaGetLastError());
}

// As launch; the kernel may begin before the kernel before it ends.
template <typename... Parameters, typename... Arguments>
const char* launch_dependent(void (*kernel)(Parameters...), dim3 grid, dim3 block,
    size_t shared_bytes, void* stream, Arguments... arguments) {
    cudaLaunchConfig_t config{};
    config.gridDim = grid, config.blockDim = block, config.dynamicSmemBytes = shared_bytes;
    config.stream = static_cast<cudaStream_t>(stream);
#if CUDART_VERSION >= 12030  // from there on stream capture takes it, where the driver does, too
    int driver = 0;  // a toolkit of CUDA 12 also runs on the drivers of 12.0 to 12.2
    cudaError_t error = cudaDriverGetVersion(&driver);
    // Code of an older architecture, compiled for this GPU by the driver, does not wait.
    cudaFuncAttributes attributes{};
    if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, kernel);
    if (error != cudaSuccess) {
        cudaGetLastError();  // it has been told
        return cudaGetErrorString(error);
    }
    cudaLaunchAttribute early{};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    config.attrs = &early;
    config.numAttrs = attributes.ptxVersion >= 90 && driver >= 12030 ? 1 : 0;
#endif
    cudaLaunchKernelEx(&config, kernel, arguments...);
    return text_of(cudaGetLastError());
}

// Zeroed memory of the current device, ready on every stream; or null and the error.
inline void* new_zeroed(size_t bytes, const char** error) {
    void* memory = nullptr;
    cudaError_t code = cudaMalloc(&memory, bytes);
    if (code == cudaSuccess) code = cudaMemset(memory, 0, bytes);
    if (code == cudaSuccess) code = cudaStreamSynchronize(nullptr);
    if (code == cudaSuccess) return memory;
    cudaGetLastError();  // it has been told
    cudaFree(memory);
    *error = cudaGetErrorString(code);
    return nullptr;
}

inline void delete_zeroed(void* memory) {
    // Without memory it asks nothing of CUDA, which plans are built without.
    if (memory != nullptr && cudaFree(memory) != cudaSuccess) cudaGetLastError();
}

}  // namespace darnet

#else
#include "cpu/cuda_on_cpu.h"
#endif
