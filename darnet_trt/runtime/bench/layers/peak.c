/* What this CPU can do at most, on as many threads as asked for. Prints one line a type: GMAC/s, or
 * "unsupported", of multiply-adds that depend on nothing but themselves, in registers; then GB/s of
 * the memory, of STREAM's triad a = b + 3 c, which counts 12 bytes for each float. Time in which a
 * thread had no CPU does not count, so give no more threads than cores.
 *
 *   cc -O3 -pthread peak.c -o peak && ./peak [threads] [seconds]
 */
#include <immintrin.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CHAINS 12   /* more than latency × units of any x86: 4 cycles × 2, and VNNI's 5 × 2 */
#define INNER 100000
#define FLOATS (32L << 20) /* of each array, for all threads together: 128 MiB, beyond the caches */

static double seconds_to_run = 0.5;

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

/* Every kernel runs INNER × CHAINS instructions. The accumulators have names, an array would live
 * in memory; the empty asm keeps the compiler from merging or dropping them. */
#define EACH(DO, X) DO(r0, X) DO(r1, X) DO(r2, X) DO(r3, X) DO(r4, X) DO(r5, X) DO(r6, X) \
    DO(r7, X) DO(r8, X) DO(r9, X) DO(r10, X) DO(r11, X)
#define CLEAR(r, TYPE) TYPE r = {0};
#define ONE(r, STEP) r = STEP(r); __asm__ volatile("" : "+v"(r));
#define KERNEL(NAME, ISA, TYPE, OPERAND, A, B, STEP)                       \
    __attribute__((target(ISA))) static void NAME(void) {                  \
        OPERAND a = (OPERAND)A, b = (OPERAND)B;                            \
        EACH(CLEAR, TYPE)                                                  \
        for (int n = 0; n < INNER; n++) { EACH(ONE, STEP) }                \
    }

#define FMA_512(r) _mm512_fmadd_ps(a, b, r)
#define FMA_256(r) _mm256_fmadd_ps(a, b, r)
#define BF16(r) _mm512_dpbf16_ps(r, a, b)
#define VNNI_512(r) _mm512_dpbusd_epi32(r, a, b)
#define VNNI_256(r) _mm256_dpbusd_avx_epi32(r, a, b)
KERNEL(fp32_512, "avx512f", __m512, __m512, _mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f), FMA_512)
KERNEL(fp32_256, "avx2,fma", __m256, __m256, _mm256_set1_ps(0.5f), _mm256_set1_ps(0.25f), FMA_256)
KERNEL(bf16_512, "avx512f,avx512bf16", __m512, __m512bh,
    _mm512_set1_epi16(0x3f00), _mm512_set1_epi16(0x3e80), BF16)
KERNEL(int8_512, "avx512f,avx512vnni", __m512i, __m512i,
    _mm512_set1_epi8(1), _mm512_set1_epi8(1), VNNI_512)
KERNEL(int8_256, "avx2,avxvnni", __m256i, __m256i,
    _mm256_set1_epi8(1), _mm256_set1_epi8(1), VNNI_256)

/* One pass over the thread's part of the arrays. */
static void triad(float *restrict a, const float *restrict b, const float *restrict c, long n) {
    for (long i = 0; i < n; i++) a[i] = b[i] + 3.0f * c[i];
    __asm__ volatile("" : : "r"(a) : "memory");
}

typedef struct {
    void (*kernel)(void);
    long floats;
    pthread_barrier_t *start;
    double runs_per_s;
} job;

static void *work(void *argument) {
    job *mine = argument;
    long n = mine->floats;
    float *a = NULL, *b = NULL, *c = NULL;
    if (mine->kernel) {
        mine->kernel(); /* wake the wide units up */
    } else {
        a = malloc(n * sizeof *a), b = malloc(n * sizeof *b), c = malloc(n * sizeof *c);
        if (!a || !b || !c) exit(1);
        for (long i = 0; i < n; i++) a[i] = 0, b[i] = 1, c[i] = 2; /* have the pages */
    }
    pthread_barrier_wait(mine->start);
    double begin = now(CLOCK_MONOTONIC), used = now(CLOCK_THREAD_CPUTIME_ID);
    long runs = 0;
    do {
        if (mine->kernel) mine->kernel();
        else triad(a, b, c, n);
        runs++;
    } while (now(CLOCK_MONOTONIC) - begin < seconds_to_run);
    mine->runs_per_s = runs / (now(CLOCK_THREAD_CPUTIME_ID) - used);
    free(a), free(b), free(c);
    return NULL;
}

/* Return the sum of the threads' runs a second; without a kernel, of the triad. */
static double all_runs(void (*kernel)(void), int threads) {
    pthread_t ids[threads];
    job jobs[threads];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, threads);
    double total = 0;
    for (int i = 0; i < threads; i++) {
        jobs[i] = (job){kernel, FLOATS / threads, &start, 0};
        if (pthread_create(&ids[i], NULL, work, &jobs[i])) exit(1);
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        total += jobs[i].runs_per_s;
    }
    return total;
}

static void measure(const char *name, void (*kernel)(void), int macs, int threads) {
    if (kernel)
        printf("%s %.1f\n", name, all_runs(kernel, threads) * INNER * CHAINS * macs / 1e9);
    else
        printf("%s unsupported\n", name);
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
    printf("triad %.1f\n", all_runs(NULL, threads) * 12 * (FLOATS / threads) / 1e9);
    return 0;
}
