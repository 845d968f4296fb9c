// Pools one slice in two parts with a pool.cuh that test_sanitizers.py broke, or with the right one.
#include <cstdio>
#include <memory>

#include "launch.cuh"

#include "pool.cuh"

int main() {
    constexpr int hw = 320, c = 12, parts = 2;
    constexpr int lanes = 4, rows = 64;  // one thread of a row has no channels
    const std::unique_ptr<float[]> x(new float[hw * c]), sums(new float[parts * c]),
        means(new float[c]);
    for (int i = 0; i < hw * c; ++i) x[i] = 1.0f;
    unsigned counter = 0;
    const darnet::Pooling<float> of{
        {sums.get(), means.get(), nullptr}, nullptr, {1, 1, hw, c}, parts, 1, 0, 1.0f / hw};
    darnet::launch(darnet::pool<float, float, 4>, dim3(parts), dim3(lanes, rows),
        sizeof(float) * darnet::pool_shared_floats(1), nullptr, static_cast<const float*>(x.get()),
        of, &counter, 1);
    std::printf("%g %u\n", static_cast<double>(means[c - 1]), counter);
}
