// What differs between nvcc and g++: launching a kernel, and its shared memory.
#pragma once

#ifdef __CUDACC__

#include <cuda_runtime.h>

#define DARNET_SHARED(type, name)                                 \
    extern __shared__ __align__(16) unsigned char name##_bytes[]; \
    type* const name = reinterpret_cast<type*>(name##_bytes)

namespace darnet {

// The launch's own error as text, or null.
template <typename... Parameters, typename... Arguments>
const char* launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
    void* stream, Arguments... arguments) {
    kernel<<<grid, block, shared_bytes, static_cast<cudaStream_t>(stream)>>>(arguments...);
    const cudaError_t error = cudaGetLastError();
    return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace darnet

#else
#include "cpu/cuda_on_cpu.h"
#endif
