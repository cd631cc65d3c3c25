// SPDX-License-Identifier: MIT
// Rows of floats to bfloat16, with an activation on the way, once for each way to round. The includer has defined NAME
// and TARGET of vec_*.h and
//   HALF(x)  the name with the set's suffix, HALF_TARGET  the function attribute
//   HALF_STORE(p, v)       LANES numbers, rounded
//   HALF_QUICK_GELU(v)     x sigmoid(1.702 x), relative error at most 1e-4
// and all of these are undefined at the end.

// Whole vectors, and the rest by way of one: an element's bits do not depend on where it stands.
#define HALF_MAP(out, x, n, f)                             \
    do {                                                   \
        uint8_t *p = (out);                                \
        size_t i = 0;                                      \
        for (; i + LANES <= (n); i += LANES)               \
            HALF_STORE(p + 2 * i, f(V_LOAD((x) + i)));     \
        if (i < (n)) {                                     \
            float rest[LANES] = {0};                       \
            uint8_t halves[2 * LANES];                     \
            memcpy(rest, (x) + i, ((n)-i) * sizeof *rest); \
            HALF_STORE(halves, f(V_LOAD(rest)));           \
            memcpy(p + 2 * i, halves, 2 * ((n)-i));        \
        }                                                  \
    } while (0)
#define HALF_SAME(v) (v)

HALF_TARGET static void HALF(to_bf16)(void *out, const float *x, size_t n)
{
    HALF_MAP(out, x, n, HALF_SAME);
}

HALF_TARGET static void HALF(gelu_bf16)(void *out, const float *x, size_t n)
{
    HALF_MAP(out, x, n, NAME(gelu_v));
}

HALF_TARGET static void HALF(quick_gelu_bf16)(void *out, const float *x, size_t n)
{
    HALF_MAP(out, x, n, HALF_QUICK_GELU);
}
#undef HALF_MAP
#undef HALF_SAME
#undef HALF_STORE
#undef HALF_QUICK_GELU
#undef HALF_TARGET
#undef HALF
