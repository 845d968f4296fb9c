// Runs the kernels under g++, one block after the other, each thread of a block as a fiber.
//
// Enough of CUDA for these kernels: barriers, warp shuffles, atomics, dynamic shared memory, and the
// integer instructions they name. Shared memory is a heap block of exactly the size launched with,
// so that AddressSanitizer sees an overrun, and starts as NaN, so that a value read before it is
// written shows. Fibers run in the order of their numbers or, with DARNET_FIBER_ORDER=reverse,
// against it: a missing barrier then changes results. A barrier that not all threads reach ends the
// process with a message. Blocks run in the order of their numbers; with DARNET_BLOCK_ORDER=reverse
// against it, with a number in any order, another for each number: another block is then the last.
#pragma once

#include <math.h>
#include <ucontext.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define __global__
#define __host__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) uint2 {
    uint32_t x, y;
};
struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};

using std::max;
using std::min;

inline float __uint_as_float(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
inline uint32_t __float_as_uint(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}
// Byte by byte of x, then y, the one that each hexadecimal digit of the selector names.
inline uint32_t __byte_perm(uint32_t x, uint32_t y, uint32_t selector) {
    const uint64_t bytes = uint64_t{y} << 32 | x;
    uint32_t result = 0;
    for (int i = 0; i < 4; ++i)
        result |= static_cast<uint32_t>(bytes >> (selector >> 4 * i & 7) * 8 & 0xff) << 8 * i;
    return result;
}
// The sum and the products of four signed bytes each.
inline int __dp4a(int a, int b, int sum) {
    for (int i = 0; i < 4; ++i)
        sum += static_cast<int8_t>(a >> 8 * i) * static_cast<int8_t>(b >> 8 * i);
    return sum;
}
// Blocks run one after the other, but several host threads may launch at once.
inline unsigned atomicInc(unsigned* at, unsigned most) {
    unsigned before = __atomic_load_n(at, __ATOMIC_SEQ_CST);
    while (!__atomic_compare_exchange_n(
        at, &before, before >= most ? 0 : before + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
    return before;
}
inline void __threadfence() {}

namespace darnet::cpu {

constexpr size_t kStackBytes = 256 * 1024;  // AddressSanitizer's frames are large
constexpr unsigned kWarp = 32;

enum class State { kReady, kAtBlockBarrier, kAtWarpBarrier, kDone };

#if defined(__SANITIZE_ADDRESS__)
using Place = ucontext_t;
inline void begin(Place& from, ucontext_t& to) { swapcontext(&from, &to); }
inline void go_on(Place& from, Place& to) { swapcontext(&from, &to); }
#else
// Where to go on. swapcontext asks the system for the signal mask, which takes most of the time.
struct Place {
    void* registers[5];
};
[[noreturn, gnu::noinline]] inline void leave(Place& to) { __builtin_longjmp(to.registers, 1); }
[[gnu::noinline]] inline void begin(Place& from, ucontext_t& to) {
    if (__builtin_setjmp(from.registers) == 0) setcontext(&to);
}
[[gnu::noinline]] inline void go_on(Place& from, Place& to) {
    if (__builtin_setjmp(from.registers) == 0) leave(to);
}
#endif

struct Fiber {
    Place place;
    std::unique_ptr<char[]> stack;
    State state;
    dim3 thread;
    float exchanged;
    void* sanitizer_stack;
};

// The block that runs now. Thread-local: several host threads may launch at once.
struct Block {
    std::deque<Fiber> fibers;  // which it does not move
    unsigned threads = 0, current = 0;
    dim3 index, size, grid;
    unsigned char* shared = nullptr;
    std::function<void()> body;
    Place scheduler;
    void* scheduler_sanitizer_stack = nullptr;
    const void* scheduler_stack_bottom = nullptr;
    size_t scheduler_stack_size = 0;
};

inline thread_local Block block;

[[noreturn]] inline void stop(const char* why) {
    std::fprintf(stderr, "darnet: kernel on the CPU: %s, block (%u, %u, %u)\n", why, block.index.x,
        block.index.y, block.index.z);
    std::abort();
}

inline void switch_to_scheduler(State state) {
    Fiber& fiber = block.fibers[block.current];
    fiber.state = state;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(
        &fiber.sanitizer_stack, block.scheduler_stack_bottom, block.scheduler_stack_size);
#endif
    go_on(fiber.place, block.scheduler);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fiber.sanitizer_stack, nullptr, nullptr);
#endif
}

inline void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(
        nullptr, &block.scheduler_stack_bottom, &block.scheduler_stack_size);
#endif
    for (;;) {  // for each block
        block.body();
        switch_to_scheduler(State::kDone);
    }
}

inline void resume(unsigned index) {
    block.current = index;
    Fiber& fiber = block.fibers[index];
    const bool is_new = !fiber.stack;
    if (is_new) fiber.stack.reset(new char[kStackBytes]);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(
        &block.scheduler_sanitizer_stack, fiber.stack.get(), kStackBytes);
#endif
    if (is_new) {
        ucontext_t context;
        getcontext(&context);
        context.uc_stack.ss_sp = fiber.stack.get();
        context.uc_stack.ss_size = kStackBytes;
        context.uc_link = nullptr;
        makecontext(&context, fiber_main, 0);
        begin(block.scheduler, context);
    } else {
        go_on(block.scheduler, fiber.place);
    }
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(block.scheduler_sanitizer_stack, nullptr, nullptr);
#endif
}

// Lets the threads first…last go on if all of them wait at that kind of barrier.
inline bool release(unsigned first, unsigned last, State barrier) {
    for (unsigned i = first; i < last; ++i)
        if (block.fibers[i].state != barrier) return false;
    for (unsigned i = first; i < last; ++i) block.fibers[i].state = State::kReady;
    return true;
}

inline void run_block() {
    static const bool reverse = [] {
        const char* order = std::getenv("DARNET_FIBER_ORDER");
        return order != nullptr && std::strcmp(order, "reverse") == 0;
    }();
    for (unsigned i = 0; i < block.threads; ++i) {
        Fiber& fiber = block.fibers[i];
        fiber.state = State::kReady;
        fiber.thread = dim3(i % block.size.x, i / block.size.x % block.size.y,
            i / (block.size.x * block.size.y));
    }
    // A warp runs until all of it waits for the block or is done, then the next one starts.
    for (;;) {
        for (unsigned n = 0; n < block.threads; n += kWarp) {
            const unsigned first = reverse ? (block.threads - 1 - n) / kWarp * kWarp : n;
            const unsigned last = std::min(first + kWarp, block.threads);
            do {
                for (unsigned i = first; i < last; ++i) {
                    const unsigned index = reverse ? last - 1 - (i - first) : i;
                    if (block.fibers[index].state == State::kReady) resume(index);
                }
            } while (release(first, last, State::kAtWarpBarrier));
        }
        unsigned done = 0;
        for (unsigned i = 0; i < block.threads; ++i)
            done += block.fibers[i].state == State::kDone;
        if (done == block.threads) return;
        if (!release(0, block.threads, State::kAtBlockBarrier))
            stop("a barrier that not all of its threads reach");
    }
}

inline float exchange(float value, unsigned source) {
    Fiber& self = block.fibers[block.current];
    self.exchanged = value;
    switch_to_scheduler(State::kAtWarpBarrier);
    if (source >= block.threads) stop("a shuffle from a lane that is not there");
    const float received = block.fibers[source].exchanged;
    switch_to_scheduler(State::kAtWarpBarrier);
    return received;
}

}  // namespace darnet::cpu

#define threadIdx (darnet::cpu::block.fibers[darnet::cpu::block.current].thread)
#define blockIdx (darnet::cpu::block.index)
#define blockDim (darnet::cpu::block.size)
#define gridDim (darnet::cpu::block.grid)
#define DARNET_SHARED(type, name) type* const name = reinterpret_cast<type*>(darnet::cpu::block.shared)

inline void __syncthreads() {
    darnet::cpu::switch_to_scheduler(darnet::cpu::State::kAtBlockBarrier);
}
inline float __shfl_xor_sync(unsigned, float value, int lane_mask) {
    return darnet::cpu::exchange(
        value, darnet::cpu::block.current ^ static_cast<unsigned>(lane_mask));
}

namespace darnet {

namespace cpu {

// The numbers of `count` blocks in the order in which they run.
inline std::vector<unsigned> block_order(unsigned count) {
    std::vector<unsigned> order(count);
    std::iota(order.begin(), order.end(), 0u);
    static const char* const wanted = std::getenv("DARNET_BLOCK_ORDER");
    if (wanted == nullptr || *wanted == '\0') return order;
    if (std::strcmp(wanted, "reverse") == 0)
        std::reverse(order.begin(), order.end());
    else
        std::shuffle(order.begin(), order.end(), std::mt19937(std::atoi(wanted)));
    return order;
}

}  // namespace cpu

inline void let_next_launch_begin() {}
inline void wait_for_launch_before() {}

template <typename... Parameters, typename... Arguments>
const char* launch(void (*kernel)(Parameters...), dim3 grid, dim3 size, size_t shared_bytes, void*,
    Arguments... arguments) {
    cpu::Block& block = cpu::block;
    block.threads = size.x * size.y * size.z;
    if (block.fibers.size() < block.threads) block.fibers.resize(block.threads);
    block.size = size;
    block.grid = grid;
    block.body = [&] { kernel(arguments...); };
    for (const unsigned number : cpu::block_order(grid.x * grid.y * grid.z)) {
        const std::unique_ptr<unsigned char[]> shared(new unsigned char[shared_bytes]);
        std::memset(shared.get(), 0xff, shared_bytes);
        block.shared = shared.get();
        block.index
            = dim3(number % grid.x, number / grid.x % grid.y, number / (grid.x * grid.y));
        cpu::run_block();
    }
    block.body = nullptr;
    return nullptr;
}

template <typename... Types>
const char* launch_dependent(Types... arguments) {
    return launch(arguments...);
}

inline void* new_zeroed(size_t bytes, const char** error) {
    void* const memory = std::calloc(bytes, 1);
    if (memory == nullptr) *error = "out of memory";
    return memory;
}

inline void delete_zeroed(void* memory) { std::free(memory); }

}  // namespace darnet
