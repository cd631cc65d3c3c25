// SPDX-License-Identifier: MIT
// The vector kernels, once for each instruction set. The includer has defined, through vec_*.h:
//   NAME(x)  the name with the set's suffix        TARGET  the function attribute that allows the set
//   LANES, V floats, VD doubles (LANES/2), MASK    V_*, D_*  operations on them, NAME(scale2|sum_d|sum_v|max_v|...)
// Lengths that are no multiple of LANES end with a masked vector: nothing outside is touched.

// ---- element functions ---------------------------------------------------------------------------------------------

// e^x: x = n ln 2 + r with |r| <= ln2/2, ln 2 in two parts; e^r = 1 + r + r^2 P(r), P of degree 4 with relative error
// 3e-9 (reweighted least squares on Chebyshev nodes). The clamps keep n small; a NaN passes through them.
TARGET static inline V NAME(exp_v)(V x)
{
    x = V_MAX(V_SET(-104.0F), V_MIN(V_SET(89.0F), x));
    const V n = V_ROUND(V_MUL(x, V_SET(1.44269504F)));
    V r = V_NFMA(n, V_SET(0.693359375F), x);
    r = V_NFMA(n, V_SET(-2.12194440e-4F), r);
    V p = V_SET(0.0013814598F);
    p = V_FMA(p, r, V_SET(0.0083687169F));
    p = V_FMA(p, r, V_SET(0.041668388F));
    p = V_FMA(p, r, V_SET(0.16666521F));
    p = V_FMA(p, r, V_SET(0.49999993F));
    p = V_FMA(V_MUL(r, r), p, r);
    return NAME(scale2)(V_ADD(p, V_SET(1.0F)), n);
}

// The normal distribution's Phi(x), and *bell = e^(-x^2/2). The tail is Q(a) = Phi(-a) = e^(-a^2/2) R(a), a = |x|,
// R(a) = t P(t) with t = 1/(1 + a/4), P of degree 9 with relative error 9e-9 on [0, 14.6] (fitted as above); beyond,
// Q is 0 in float. So the left tail keeps its relative accuracy. a^2 is taken with its rounding error.
TARGET static inline V NAME(phi_v)(V x, V *bell)
{
    const V a = V_MIN(V_SET(15.0F), V_ABS(x));
    const V square = V_MUL(a, a), lost = V_FMS(a, a, square);
    V e = NAME(exp_v)(V_MUL(square, V_SET(-0.5F)));
    e = V_NFMA(V_MUL(e, V_SET(0.5F)), lost, e);
    *bell = e;
    const V t = V_DIV(V_SET(1.0F), V_FMA(a, V_SET(0.25F), V_SET(1.0F)));
    V p = V_SET(0.0169514893F);
    p = V_FMA(p, t, V_SET(-0.0648659452F));
    p = V_FMA(p, t, V_SET(0.0566735112F));
    p = V_FMA(p, t, V_SET(0.0215204449F));
    p = V_FMA(p, t, V_SET(0.0186713981F));
    p = V_FMA(p, t, V_SET(0.0833303051F));
    p = V_FMA(p, t, V_SET(0.0732000232F));
    p = V_FMA(p, t, V_SET(0.0952459997F));
    p = V_FMA(p, t, V_SET(0.0995267338F));
    p = V_FMA(p, t, V_SET(0.0997460443F));
    const V q = V_MUL(e, V_MUL(p, t));
    return V_NEGATIVE(x, q, V_SUB(V_SET(1.0F), q));
}

TARGET static inline V NAME(gelu_v)(V x)
{
    V bell;
    const V phi = NAME(phi_v)(x, &bell);
    return V_MUL(x, phi);
}

TARGET static inline V NAME(gelu_slope_v)(V x)
{
    V bell;
    const V phi = NAME(phi_v)(x, &bell);
    return V_FMA(V_MUL(x, V_SET(0.398942280F)), bell, phi);
}

// e^(-1.702 x). 1.702 x is taken with its rounding error, which the exponential would enlarge; x is clamped where the
// result no longer changes, so that no infinity meets another.
TARGET static inline V NAME(exp_1702_v)(V x)
{
    x = V_MAX(V_SET(-65.0F), V_MIN(V_SET(65.0F), x));
    const V high = V_SET(-1.702F), low = V_SET((float)(-1.702 - (double)-1.702F));
    const V z = V_MUL(x, high), lost = V_FMA(x, low, V_FMS(x, high, z));
    return V_MUL(NAME(exp_v)(z), V_ADD(V_SET(1.0F), lost)); // in this form since e^z may be infinite
}

TARGET static inline V NAME(quick_gelu_v)(V x)
{
    return V_DIV(x, V_ADD(V_SET(1.0F), NAME(exp_1702_v)(x)));
}

// 1 - s is e s where s is near 1 and would cancel.
TARGET static inline V NAME(quick_gelu_slope_v)(V x)
{
    const V e = NAME(exp_1702_v)(x), s = V_DIV(V_SET(1.0F), V_ADD(V_SET(1.0F), e));
    const V rest = V_NEGATIVE(x, V_SUB(V_SET(1.0F), s), V_MUL(e, s));
    return V_FMA(V_MUL(V_MUL(s, rest), x), V_SET(1.702F), s); // in this order no finite x overflows
}

// The function and its slope, from one set of exponentials.
TARGET static inline V NAME(gelu_both_v)(V x, V *slope)
{
    V bell;
    const V phi = NAME(phi_v)(x, &bell);
    *slope = V_FMA(V_MUL(x, V_SET(0.398942280F)), bell, phi);
    return V_MUL(x, phi);
}

TARGET static inline V NAME(quick_gelu_both_v)(V x, V *slope)
{
    *slope = NAME(quick_gelu_slope_v)(x);
    return NAME(quick_gelu_v)(x);
}

// ---- loops over elements -------------------------------------------------------------------------------------------

typedef V (*NAME(Fn))(V);

// y = f(x). Inlined with a known f: no call is left.
TARGET static inline __attribute__((always_inline)) void NAME(map)(float *y, const float *x, size_t n, NAME(Fn) f)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        V_STORE(y + i, f(V_LOAD(x + i)));
    if (i < n) {
        const MASK m = MASK_FIRST(n - i);
        V_STOREM(y + i, m, f(V_LOADM(m, x + i)));
    }
}

// dx += dy f(x)
TARGET static inline __attribute__((always_inline)) void NAME(map_backward)(float *dx, const float *dy, const float *x,
                                                                            size_t n, NAME(Fn) f)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        V_STORE(dx + i, V_FMA(V_LOAD(dy + i), f(V_LOAD(x + i)), V_LOAD(dx + i)));
    if (i < n) {
        const MASK m = MASK_FIRST(n - i);
        V_STOREM(dx + i, m, V_FMA(V_LOADM(m, dy + i), f(V_LOADM(m, x + i)), V_LOADM(m, dx + i)));
    }
}

typedef V (*NAME(BothFn))(V, V *);

// y = f(x), d *= f'(x)
TARGET static inline __attribute__((always_inline)) void NAME(map_again)(float *y, float *d, const float *x, size_t n,
                                                                         NAME(BothFn) f)
{
    size_t i = 0;
    V slope;
    for (; i + LANES <= n; i += LANES) {
        V_STORE(y + i, f(V_LOAD(x + i), &slope));
        V_STORE(d + i, V_MUL(V_LOAD(d + i), slope));
    }
    if (i < n) {
        const MASK m = MASK_FIRST(n - i);
        V_STOREM(y + i, m, f(V_LOADM(m, x + i), &slope));
        V_STOREM(d + i, m, V_MUL(V_LOADM(m, d + i), slope));
    }
}

TARGET static void NAME(exp)(float *y, const float *x, size_t n)
{
    NAME(map)(y, x, n, NAME(exp_v));
}

TARGET static void NAME(gelu)(float *y, const float *x, size_t n)
{
    NAME(map)(y, x, n, NAME(gelu_v));
}

TARGET static void NAME(gelu_backward)(float *dx, const float *dy, const float *x, size_t n)
{
    NAME(map_backward)(dx, dy, x, n, NAME(gelu_slope_v));
}

TARGET static void NAME(gelu_again)(float *y, float *d, const float *x, size_t n)
{
    NAME(map_again)(y, d, x, n, NAME(gelu_both_v));
}

TARGET static void NAME(quick_gelu_again)(float *y, float *d, const float *x, size_t n)
{
    NAME(map_again)(y, d, x, n, NAME(quick_gelu_both_v));
}

TARGET static void NAME(quick_gelu)(float *y, const float *x, size_t n)
{
    NAME(map)(y, x, n, NAME(quick_gelu_v));
}

TARGET static void NAME(quick_gelu_backward)(float *dx, const float *dy, const float *x, size_t n)
{
    NAME(map_backward)(dx, dy, x, n, NAME(quick_gelu_slope_v));
}

// ---- rows ----------------------------------------------------------------------------------------------------------

// Pieces of a row: whole vectors, and the masked rest. i is the loop's own name.
// NOLINTNEXTLINE(bugprone-macro-parentheses)
#define FOR_ROW(i, n)  for (size_t i = 0; i < (n); i += LANES)
#define WHOLE(i, n)    ((n) - (i) >= LANES)
#define PIECE(p, i, n) (WHOLE(i, n) ? V_LOAD((p) + (i)) : V_LOADM(MASK_FIRST((n) - (i)), (p) + (i)))
#define ONLY(v, i, n)  (WHOLE(i, n) ? (v) : V_KEEP(MASK_FIRST((n) - (i)), v))
#define PUT(p, v, i, n)                                    \
    do {                                                   \
        if (WHOLE(i, n))                                   \
            V_STORE((p) + (i), v);                         \
        else                                               \
            V_STOREM((p) + (i), MASK_FIRST((n) - (i)), v); \
    } while (0)

// Sum of x - shift over a row, in double.
TARGET static inline double NAME(sum_shifted)(const float *x, size_t n, float shift)
{
    VD low = D_ZERO(), high = D_ZERO();
    const V s = V_SET(shift);
    FOR_ROW(i, n)
    {
        const V d = ONLY(V_SUB(PIECE(x, i, n), s), i, n);
        low = D_ADD(low, D_LOW(d));
        high = D_ADD(high, D_HIGH(d));
    }
    return NAME(sum_d)(D_ADD(low, high));
}

// y = (x - mean - lost) scale gain + bias, where mean + lost is the mean: x - mean is exact in a row that is nearly
// constant, and so nothing of its spread is lost.
TARGET static inline void NAME(normalise)(float *y, const float *x, size_t n, float mean, float lost, float scale,
                                          const float *gain, const float *bias)
{
    const V m = V_SET(mean), l = V_SET(lost), s = V_SET(scale);
    FOR_ROW(i, n)
    {
        V v = V_MUL(V_SUB(V_SUB(PIECE(x, i, n), m), l), s);
        if (gain != NULL)
            v = V_MUL(v, PIECE(gain, i, n));
        if (bias != NULL)
            v = V_ADD(v, PIECE(bias, i, n));
        PUT(y, v, i, n);
    }
}

TARGET static void NAME(layernorm)(float *y, float *mean, float *rstd, const float *x, const float *gain,
                                   const float *bias, size_t rows, size_t width, float eps)
{
    for (size_t r = 0; r < rows; r++, x += width, y += width) {
        const double exact = NAME(sum_shifted)(x, width, 0) / (double)width;
        const float m = (float)exact, lost = (float)(exact - m);
        VD low = D_ZERO(), high = D_ZERO();
        FOR_ROW(i, width)
        {
            const V d = ONLY(V_SUB(V_SUB(PIECE(x, i, width), V_SET(m)), V_SET(lost)), i, width);
            low = D_FMA(D_LOW(d), D_LOW(d), low);
            high = D_FMA(D_HIGH(d), D_HIGH(d), high);
        }
        const double variance = NAME(sum_d)(D_ADD(low, high)) / (double)width;
        const float scale = (float)(1 / sqrt(variance + eps));
        NAME(normalise)(y, x, width, m, lost, scale, gain, bias);
        if (mean != NULL)
            mean[r] = m;
        if (rstd != NULL)
            rstd[r] = scale;
    }
}

// One row: dgain and dbias, and the two sums that dx needs.
TARGET static inline void NAME(layernorm_sums)(float *dgain, float *dbias, const float *dy, const float *x, float mean,
                                               float lost, float scale, const float *gain, size_t n, double *sum_h,
                                               double *sum_hx)
{
    VD h_low = D_ZERO(), h_high = D_ZERO(), x_low = D_ZERO(), x_high = D_ZERO();
    const V m = V_SET(mean), l = V_SET(lost), s = V_SET(scale);
    FOR_ROW(i, n)
    {
        const V g = PIECE(dy, i, n);
        const V hat = V_MUL(V_SUB(V_SUB(PIECE(x, i, n), m), l), s);
        if (dgain != NULL)
            PUT(dgain, V_FMA(g, hat, PIECE(dgain, i, n)), i, n);
        if (dbias != NULL)
            PUT(dbias, V_ADD(g, PIECE(dbias, i, n)), i, n);
        const V h = gain != NULL ? V_MUL(g, PIECE(gain, i, n)) : g; // 0 behind the row, as dy is
        h_low = D_ADD(h_low, D_LOW(h));
        h_high = D_ADD(h_high, D_HIGH(h));
        const V hx = ONLY(V_MUL(h, hat), i, n);
        x_low = D_ADD(x_low, D_LOW(hx));
        x_high = D_ADD(x_high, D_HIGH(hx));
    }
    *sum_h = NAME(sum_d)(D_ADD(h_low, h_high));
    *sum_hx = NAME(sum_d)(D_ADD(x_low, x_high));
}

TARGET static void NAME(layernorm_backward)(float *dx, float *dgain, float *dbias, const float *dy, const float *x,
                                            const float *mean, const float *rstd, const float *gain, size_t rows,
                                            size_t width)
{
    for (size_t r = 0; r < rows; r++, x += width, dy += width) {
        const float lost = (float)(NAME(sum_shifted)(x, width, mean[r]) / (double)width);
        double sum_h, sum_hx;
        NAME(layernorm_sums)(dgain, dbias, dy, x, mean[r], lost, rstd[r], gain, width, &sum_h, &sum_hx);
        if (dx == NULL)
            continue;
        const V m = V_SET(mean[r]), l = V_SET(lost), s = V_SET(rstd[r]);
        const V mean_h = V_SET((float)(sum_h / (double)width)), mean_hx = V_SET((float)(sum_hx / (double)width));
        FOR_ROW(i, width)
        {
            const V g = PIECE(dy, i, width);
            const V hat = V_MUL(V_SUB(V_SUB(PIECE(x, i, width), m), l), s);
            const V h = gain != NULL ? V_MUL(g, PIECE(gain, i, width)) : g;
            const V d = V_NFMA(hat, mean_hx, V_SUB(h, mean_h));
            PUT(dx, V_FMA(s, d, PIECE(dx, i, width)), i, width);
        }
        dx += width;
    }
}

TARGET static inline float NAME(row_max)(const float *x, size_t n)
{
    V top = V_SET(-INFINITY);
    FOR_ROW(i, n)
    {
        const V v = PIECE(x, i, n);
        top = V_MAX(WHOLE(i, n) ? v : V_ELSE(MASK_FIRST(n - i), v, top), top); // top where v is NaN
    }
    return NAME(max_v)(top);
}

TARGET static void NAME(softmax)(float *y, const float *x, size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r++, x += width, y += width) {
        const V top = V_SET(NAME(row_max)(x, width));
        VD low = D_ZERO(), high = D_ZERO();
        FOR_ROW(i, width)
        {
            const V e = ONLY(NAME(exp_v)(V_SUB(PIECE(x, i, width), top)), i, width);
            low = D_ADD(low, D_LOW(e));
            high = D_ADD(high, D_HIGH(e));
            PUT(y, e, i, width);
        }
        const V scale = V_SET((float)(1 / NAME(sum_d)(D_ADD(low, high))));
        FOR_ROW(i, width)
        {
            PUT(y, V_MUL(PIECE(y, i, width), scale), i, width);
        }
    }
}

TARGET static float NAME(log_sum_exp)(const float *x, size_t n)
{
    const float top = NAME(row_max)(x, n);
    if (isinf(top)) // all -inf, none, or some +inf: the reference knows
        return nn_kernels_reference()->log_sum_exp(x, n);
    VD low = D_ZERO(), high = D_ZERO();
    FOR_ROW(i, n)
    {
        const V e = ONLY(NAME(exp_v)(V_SUB(PIECE(x, i, n), V_SET(top))), i, n);
        low = D_ADD(low, D_LOW(e));
        high = D_ADD(high, D_HIGH(e));
    }
    return (float)(top + log(NAME(sum_d)(D_ADD(low, high))));
}

TARGET static inline double NAME(dot_d)(const float *a, const float *b, size_t n)
{
    VD low = D_ZERO(), high = D_ZERO();
    FOR_ROW(i, n)
    {
        const V u = PIECE(a, i, n), v = PIECE(b, i, n);
        low = D_FMA(D_LOW(u), D_LOW(v), low);
        high = D_FMA(D_HIGH(u), D_HIGH(v), high);
    }
    return NAME(sum_d)(D_ADD(low, high));
}

TARGET static float NAME(dot)(const float *a, const float *b, size_t n)
{
    return (float)NAME(dot_d)(a, b, n);
}

TARGET static void NAME(softmax_backward)(float *dx, const float *dy, const float *y, size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r++, dx += width, dy += width, y += width) {
        const V sum = V_SET((float)NAME(dot_d)(dy, y, width));
        FOR_ROW(i, width)
        {
            PUT(dx, V_FMA(PIECE(y, i, width), V_SUB(PIECE(dy, i, width), sum), PIECE(dx, i, width)), i, width);
        }
    }
}

// Columns side by side in registers, rows in order: the reference's sums, each in its order.
TARGET static void NAME(sum_rows)(float *out, const float *x, size_t rows, size_t width)
{
    size_t i = 0;
    for (; i + 4 * LANES <= width; i += 4 * LANES) {
        V a = V_LOAD(out + i), b = V_LOAD(out + i + LANES), c = V_LOAD(out + i + 2 * LANES),
          d = V_LOAD(out + i + 3 * LANES);
        for (size_t r = 0; r < rows; r++) {
            const float *row = x + r * width + i;
            a = V_ADD(a, V_LOAD(row));
            b = V_ADD(b, V_LOAD(row + LANES));
            c = V_ADD(c, V_LOAD(row + 2 * LANES));
            d = V_ADD(d, V_LOAD(row + 3 * LANES));
        }
        V_STORE(out + i, a);
        V_STORE(out + i + LANES, b);
        V_STORE(out + i + 2 * LANES, c);
        V_STORE(out + i + 3 * LANES, d);
    }
    for (; i < width; i += LANES) {
        V sum = PIECE(out, i, width);
        for (size_t r = 0; r < rows; r++)
            sum = V_ADD(sum, PIECE(x + r * width, i, width));
        PUT(out, sum, i, width);
    }
}

TARGET static void NAME(adamw)(float *p, float *m, float *v, const float *g, size_t n, const NnAdamwStep *s)
{
    const V beta1 = V_SET(s->beta1), beta2 = V_SET(s->beta2), rest1 = V_SET(s->rest1), rest2 = V_SET(s->rest2);
    const V scale = V_SET(s->grad_scale), keep = V_SET(s->keep), step = V_SET(s->step), eps = V_SET(s->eps);
    const V correct = V_SET(s->inv_sqrt_c2);
    FOR_ROW(i, n)
    {
        const V grad = V_MUL(scale, PIECE(g, i, n));
        const V mean = V_ADD(V_MUL(beta1, PIECE(m, i, n)), V_MUL(rest1, grad));
        const V square = V_ADD(V_MUL(beta2, PIECE(v, i, n)), V_MUL(rest2, V_MUL(grad, grad)));
        const V root = V_ADD(V_MUL(V_SQRT(square), correct), eps);
        PUT(m, mean, i, n);
        PUT(v, square, i, n);
        PUT(p, V_SUB(V_MUL(keep, PIECE(p, i, n)), V_DIV(V_MUL(step, mean), root)), i, n);
    }
}

// ---- plain loops: the reference's text, which the compiler widens to this set --------------------------------------

TARGET static void NAME(add)(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

TARGET static void NAME(scale)(float *y, float a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] *= a;
}

TARGET static void NAME(axpy)(float *y, float a, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

TARGET static void NAME(add_rows)(float *y, const float *bias, size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < width; i++)
            y[r * width + i] += bias[i];
    }
}

// ---- half precision ------------------------------------------------------------------------------------------------

TARGET static void NAME(f16_to_f32)(float *out, const void *in, size_t n)
{
    const uint8_t *p = in;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        V_STORE(out + i, NAME(load_f16)(p + 2 * i));
    nn_kernels_reference()->f16_to_f32(out + i, p + 2 * i, n - i);
}

TARGET static void NAME(f32_to_f16)(void *out, const float *in, size_t n)
{
    uint8_t *p = out;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        NAME(store_f16)(p + 2 * i, V_LOAD(in + i));
    nn_kernels_reference()->f32_to_f16(p + 2 * i, in + i, n - i);
}

TARGET static void NAME(bf16_to_f32)(float *out, const void *in, size_t n)
{
    const uint8_t *p = in;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        V_STORE(out + i, NAME(load_bf16)(p + 2 * i));
    nn_kernels_reference()->bf16_to_f32(out + i, p + 2 * i, n - i);
}

TARGET static void NAME(f32_to_bf16)(void *out, const float *in, size_t n)
{
    uint8_t *p = out;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        NAME(store_bf16)(p + 2 * i, V_LOAD(in + i));
    nn_kernels_reference()->f32_to_bf16(p + 2 * i, in + i, n - i);
}

// ---- products with packed panels (nn/rows.h) ------------------------------------------------------------------------

// Turns 4 x 4 at a time with the shuffles every x86-64 has.
TARGET static void NAME(pack_panel)(float *panel, const float *w, size_t ldw, size_t columns, size_t k)
{
    const size_t whole = columns / 4 * 4, deep = k / 4 * 4;
    for (size_t j = 0; j < whole; j += 4) {
        for (size_t i = 0; i < deep; i += 4) {
            const float *from = w + j * ldw + i;
            float *to = panel + i * NN_PANEL + j;
            __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + ldw), c = _mm_loadu_ps(from + 2 * ldw);
            __m128 d = _mm_loadu_ps(from + 3 * ldw);
            _MM_TRANSPOSE4_PS(a, b, c, d);
            _mm_storeu_ps(to, a);
            _mm_storeu_ps(to + NN_PANEL, b);
            _mm_storeu_ps(to + 2 * NN_PANEL, c);
            _mm_storeu_ps(to + 3 * NN_PANEL, d);
        }
    }
    for (size_t i = 0; i < k; i++) {
        for (size_t j = i < deep ? whole : 0; j < NN_PANEL; j++)
            panel[i * NN_PANEL + j] = j < columns ? w[j * ldw + i] : 0.0F;
    }
}

// ROWS rows by two vectors of columns: all sums stay in registers.
#define ROWS (LANES == 16 ? 12 : 6)
TARGET static inline __attribute__((always_inline)) void
NAME(panel_tile)(float *y, size_t ldy, const float *x, size_t ldx, const float *panel, size_t k, int add, int rows)
{
    V sum[ROWS][2];
    for (int r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = V_ZERO();
    for (size_t i = 0; i < k; i++) {
        const V a = V_LOAD(panel + i * NN_PANEL), b = V_LOAD(panel + i * NN_PANEL + LANES);
        for (int r = 0; r < rows; r++) {
            const V v = V_SET(x[(size_t)r * ldx + i]);
            sum[r][0] = V_FMA(v, a, sum[r][0]);
            sum[r][1] = V_FMA(v, b, sum[r][1]);
        }
    }
    for (int r = 0; r < rows; r++) {
        float *out = y + (size_t)r * ldy;
        V_STORE(out, add ? V_ADD(V_LOAD(out), sum[r][0]) : sum[r][0]);
        V_STORE(out + LANES, add ? V_ADD(V_LOAD(out + LANES), sum[r][1]) : sum[r][1]);
    }
}

// The same for any number of rows up to ROWS, each with code of its own.
TARGET static void NAME(panel_rows)(float *y, size_t ldy, const float *x, size_t ldx, const float *panel, size_t k,
                                    int add, size_t rows)
{
#define CASE(n)                                             \
    case n:                                                 \
        NAME(panel_tile)(y, ldy, x, ldx, panel, k, add, n); \
        break;
    switch (rows) {
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
        CASE(5)
        CASE(6)
#if LANES == 16
        CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#endif
    }
#undef CASE
}

TARGET static void NAME(panel_product)(float *y, size_t ldy, const float *x, size_t ldx, const float *panel,
                                       size_t rows, size_t columns, size_t k, int add)
{
    for (size_t r = 0; r < rows; r += ROWS) {
        const size_t n = rows - r < ROWS ? rows - r : ROWS;
        if (columns == NN_PANEL) {
            for (size_t j = 0; j < NN_PANEL; j += 2 * LANES)
                NAME(panel_rows)(y + r * ldy + j, ldy, x + r * ldx, ldx, panel + j, k, add, n);
            continue;
        }
        float part[ROWS * NN_PANEL]; // a narrow panel is computed whole and stored in part
        for (size_t j = 0; j < NN_PANEL; j += 2 * LANES)
            NAME(panel_rows)(part + j, NN_PANEL, x + r * ldx, ldx, panel + j, k, 0, n);
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < columns; j++) {
                float *out = y + (r + i) * ldy + j;
                *out = add ? *out + part[i * NN_PANEL + j] : part[i * NN_PANEL + j];
            }
        }
    }
}
#undef ROWS

#undef FOR_ROW
#undef WHOLE
#undef PIECE
#undef ONLY
#undef PUT

static void NAME(fill)(NnKernels *k)
{
    k->exp = NAME(exp);
    k->gelu = NAME(gelu);
    k->gelu_backward = NAME(gelu_backward);
    k->quick_gelu = NAME(quick_gelu);
    k->quick_gelu_backward = NAME(quick_gelu_backward);
    k->gelu_again = NAME(gelu_again);
    k->quick_gelu_again = NAME(quick_gelu_again);
    k->layernorm = NAME(layernorm);
    k->layernorm_backward = NAME(layernorm_backward);
    k->softmax = NAME(softmax);
    k->softmax_backward = NAME(softmax_backward);
    k->log_sum_exp = NAME(log_sum_exp);
    k->dot = NAME(dot);
    k->sum_rows = NAME(sum_rows);
    k->pack_panel = NAME(pack_panel);
    k->panel_product = NAME(panel_product);
    k->adamw = NAME(adamw);
    k->add = NAME(add);
    k->scale = NAME(scale);
    k->axpy = NAME(axpy);
    k->add_rows = NAME(add_rows);
    k->f16_to_f32 = NAME(f16_to_f32);
    k->f32_to_f16 = NAME(f32_to_f16);
    k->bf16_to_f32 = NAME(bf16_to_f32);
    k->f32_to_bf16 = NAME(f32_to_bf16);
}
