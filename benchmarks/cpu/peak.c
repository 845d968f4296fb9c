/* Arithmetic peak of this CPU: loops of multiply-adds that depend on nothing but themselves, in
 * registers, on as many threads as asked for. Prints one line a type: GMAC/s, or "unsupported".
 *
 *   cc -O2 -pthread peak.c -o peak && ./peak [threads] [seconds]
 */
#include <immintrin.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CHAINS 12   /* more than latency × units of any x86: 4 cycles × 2, and VNNI's 5 × 2 */
#define INNER 100000

static double seconds_to_run = 0.5;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

/* Every kernel runs INNER × CHAINS instructions. The accumulators have names, an array would live
 * in memory; the empty asm keeps the compiler from merging or dropping them. */
#define EACH(DO) DO(r0) DO(r1) DO(r2) DO(r3) DO(r4) DO(r5) DO(r6) DO(r7) DO(r8) DO(r9) DO(r10) DO(r11)
#define CLEAR(r) r = ZERO;
#define ONE(r) r = STEP(r); __asm__ volatile("" : "+v"(r));
#define LOOP(TYPE)                                             \
    TYPE r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11;     \
    EACH(CLEAR)                                                \
    for (int n = 0; n < INNER; n++) { EACH(ONE) }

__attribute__((target("avx512f"))) static void fp32_512(void) {
    __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f);
#define ZERO _mm512_setzero_ps()
#define STEP(r) _mm512_fmadd_ps(a, b, r)
    LOOP(__m512)
#undef ZERO
#undef STEP
}
__attribute__((target("avx2,fma"))) static void fp32_256(void) {
    __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f);
#define ZERO _mm256_setzero_ps()
#define STEP(r) _mm256_fmadd_ps(a, b, r)
    LOOP(__m256)
#undef ZERO
#undef STEP
}
__attribute__((target("avx512f,avx512bf16"))) static void bf16_512(void) {
    __m512bh a = (__m512bh)_mm512_set1_epi16(0x3f00), b = (__m512bh)_mm512_set1_epi16(0x3e80);
#define ZERO _mm512_setzero_ps()
#define STEP(r) _mm512_dpbf16_ps(r, a, b)
    LOOP(__m512)
#undef ZERO
#undef STEP
}
__attribute__((target("avx512f,avx512vnni"))) static void int8_512(void) {
    __m512i a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(1);
#define ZERO _mm512_setzero_si512()
#define STEP(r) _mm512_dpbusd_epi32(r, a, b)
    LOOP(__m512i)
#undef ZERO
#undef STEP
}
__attribute__((target("avx2,avxvnni"))) static void int8_256(void) {
    __m256i a = _mm256_set1_epi8(1), b = _mm256_set1_epi8(1);
#define ZERO _mm256_setzero_si256()
#define STEP(r) _mm256_dpbusd_avx_epi32(r, a, b)
    LOOP(__m256i)
#undef ZERO
#undef STEP
}

typedef struct {
    void (*kernel)(void);
    pthread_barrier_t *start;
    double runs_per_s;
} job;

static void *work(void *argument) {
    job *mine = argument;
    mine->kernel(); /* wake the wide units up */
    pthread_barrier_wait(mine->start);
    double begin = now(), end;
    long runs = 0;
    do {
        mine->kernel();
        runs++;
        end = now();
    } while (end - begin < seconds_to_run);
    mine->runs_per_s = runs / (end - begin);
    return NULL;
}

static void measure(const char *name, void (*kernel)(void), int macs, int threads) {
    if (!kernel) {
        printf("%s unsupported\n", name);
        return;
    }
    pthread_t ids[threads];
    job jobs[threads];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, threads);
    double total = 0;
    for (int i = 0; i < threads; i++) {
        jobs[i] = (job){kernel, &start, 0};
        if (pthread_create(&ids[i], NULL, work, &jobs[i])) exit(1);
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        total += jobs[i].runs_per_s;
    }
    printf("%s %.1f\n", name, total * INNER * CHAINS * macs / 1e9);
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    if (argc > 2) seconds_to_run = atof(argv[2]);
    if (threads < 1 || seconds_to_run <= 0) return 2;
    __builtin_cpu_init();
    int wide = __builtin_cpu_supports("avx512f");
    int fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    measure("fp32", wide ? fp32_512 : fma ? fp32_256 : NULL, wide ? 16 : 8, threads);
    measure("bf16", __builtin_cpu_supports("avx512bf16") ? bf16_512 : NULL, 32, threads);
    int vnni = __builtin_cpu_supports("avx512vnni");
    measure("int8", vnni ? int8_512 : HAS_AVXVNNI ? int8_256 : NULL, vnni ? 64 : 32, threads);
    return 0;
}
