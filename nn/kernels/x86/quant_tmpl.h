// SPDX-License-Identifier: MIT
// Rows to bytes, and sums of bytes back to floats, once for each instruction set (vec_*.h).

TARGET static inline V NAME(times)(const float *x, const float *columns, size_t i)
{
    return columns == NULL ? V_LOAD(x + i) : V_MUL(V_LOAD(x + i), V_LOAD(columns + i));
}

TARGET static inline __attribute__((always_inline)) void
NAME(quantize_with)(uint8_t *q, float *scale, int32_t *zero, const float *x, const float *columns, size_t n)
{
    V least = V_ZERO(), most = V_ZERO(), nan = V_ZERO();
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const V v = NAME(times)(x, columns, i);
        least = V_MIN(v, least); // least where v is NaN
        most = V_MAX(v, most);
        nan = V_FMA(v, V_ZERO(), nan);
    }
    if (i < n) {
        V v = V_LOADM(MASK_FIRST(n - i), x + i);
        v = columns == NULL ? v : V_MUL(v, V_LOADM(MASK_FIRST(n - i), columns + i));
        least = V_MIN(v, least);
        most = V_MAX(v, most);
        nan = V_FMA(v, V_ZERO(), nan);
    }
    float inverse;
    const float low = -NAME(max_v)(V_SUB(V_ZERO(), least));
    if (!nn_quantize_scale(low, NAME(max_v)(most), NAME(sum_v)(nan), scale, zero, &inverse)) {
        memset(q, 0, n);
        return;
    }
    const V factor = V_SET(inverse), shift = V_SET((float)*zero);
    for (i = 0; i + LANES <= n; i += LANES) {
        const V v = V_ADD(V_ROUND(V_MUL(NAME(times)(x, columns, i), factor)), shift);
        NAME(store_u8)(q + i, V_MIN(V_MAX(v, V_ZERO()), V_SET(255)));
    }
    nn_quantize_rest(q + i, x + i, columns == NULL ? NULL : columns + i, n - i, inverse, *zero);
}

TARGET static void NAME(quantize)(uint8_t *q, float *scale, int32_t *zero, const float *x, const float *columns,
                                  size_t n)
{
    if (columns == NULL) {
        NAME(quantize_with)(q, scale, zero, x, NULL, n);
    } else {
        NAME(quantize_with)(q, scale, zero, x, columns, n);
    }
}

TARGET static void NAME(dequantize)(float *y, const int32_t *c, const float *scale, const int32_t *zero,
                                    const float *width, const int32_t *sums, const float *bias, size_t rows)
{
    for (size_t r = 0; r < rows; r++, c += NN_PANEL, y += NN_PANEL) {
        const V s = V_SET(scale[r]);
        for (size_t j = 0; j < NN_PANEL; j += LANES) {
            const V d = V_MUL(NAME(centred)(c + j, sums + j, zero[r]), V_MUL(s, V_LOAD(width + j)));
            V_STORE(y + j, V_ADD(d, V_LOAD(bias + j)));
        }
    }
}
