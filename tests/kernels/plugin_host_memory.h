// Memory and streams for plugin_host.cpp: the host's, or with -DDARNET_CUDA the device's.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "tensorrt_v3.h"

#ifdef DARNET_CUDA
#include <cuda_runtime.h>
#include <mutex>
#endif

// A defect of the plugin or of this program, not an answer.
[[noreturn]] inline void die(const std::string& why) {
    std::fprintf(stderr, "plugin_host: %s\n", why.c_str());
    std::exit(3);
}

inline void expect(bool holds, const char* what) {
    if (!holds) die(std::string("expected ") + what);
}

#ifdef DARNET_CUDA

inline void cuda(cudaError_t error) {
    if (error != cudaSuccess) die(cudaGetErrorString(error));
}

// Of exactly `size` bytes, followed by a guard that must stay as it is.
class Memory {
public:
    explicit Memory(size_t size) : size_(size) {
        cuda(cudaMalloc(&data_, size + kGuard));
        cuda(cudaMemset(data_, 0xA5, size + kGuard));
    }
    Memory(const Memory&) = delete;
    ~Memory() {
        std::vector<unsigned char> guard(kGuard);
        cuda(cudaMemcpy(guard.data(), data_ + size_, kGuard, cudaMemcpyDeviceToHost));
        for (const unsigned char byte : guard)
            expect(byte == 0xA5, "nothing written behind the end");
        cuda(cudaFree(data_));
    }
    void* data() const { return data_; }
    void write(const std::vector<char>& from) {
        cuda(cudaMemcpy(data_, from.data(), size_, cudaMemcpyHostToDevice));
    }
    std::vector<char> read() const {
        std::vector<char> to(size_);
        cuda(cudaMemcpy(to.data(), data_, size_, cudaMemcpyDeviceToHost));
        return to;
    }

private:
    static constexpr size_t kGuard = 4096;
    char* data_ = nullptr;
    size_t size_;
};

// While one thread captures, no other may touch the default stream: one context at a time.
class Turn {
public:
    Turn() : lock_(mutex()) {}

private:
    static std::mutex& mutex() {
        static std::mutex only;
        return only;
    }
    std::lock_guard<std::mutex> lock_;
};

// Runs once directly and once as a CUDA graph.
template <typename Enqueue>
int32_t run(const Memory& y, Enqueue enqueue) {
    cudaStream_t stream;
    cuda(cudaStreamCreate(&stream));
    int32_t code = enqueue(stream);
    if (code == 0) {
        cuda(cudaStreamSynchronize(stream));
        const std::vector<char> direct = y.read();
        cuda(cudaMemset(y.data(), 0x5A, direct.size()));
        cudaGraph_t graph;
        cudaGraphExec_t executable;
        cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
        code = enqueue(stream);
        cuda(cudaStreamEndCapture(stream, &graph));
        cuda(cudaGraphInstantiate(&executable, graph, 0));
        cuda(cudaGraphLaunch(executable, stream));
        cuda(cudaStreamSynchronize(stream));
        expect(y.read() == direct, "the captured graph to give the same result");
        cuda(cudaGraphExecDestroy(executable));
        cuda(cudaGraphDestroy(graph));
    }
    cuda(cudaStreamDestroy(stream));
    return code;
}

#else

// Of exactly `size` bytes, so that AddressSanitizer sees what goes beyond them.
class Memory {
public:
    explicit Memory(size_t size) : size_(size) {
        if (posix_memalign(&data_, 256, size) != 0) die("out of memory");
        std::memset(data_, 0xA5, size);
    }
    Memory(const Memory&) = delete;
    ~Memory() { std::free(data_); }
    void* data() const { return data_; }
    void write(const std::vector<char>& from) { std::memcpy(data_, from.data(), size_); }
    std::vector<char> read() const {
        const char* const from = static_cast<const char*>(data_);
        return {from, from + size_};
    }

private:
    void* data_ = nullptr;
    size_t size_;
};

struct Turn {  // both contexts at once
    Turn() {}
};

// Runs twice; under AddressSanitizer, which takes long, once.
template <typename Enqueue>
int32_t run(const Memory& y, Enqueue enqueue) {
#if defined(__SANITIZE_ADDRESS__)
    return enqueue(nullptr);
#endif
    if (const int32_t code = enqueue(nullptr)) return code;
    const std::vector<char> first = y.read();
    const int32_t code = enqueue(nullptr);
    expect(y.read() == first, "the second run to give the same result");
    return code;
}

#endif
