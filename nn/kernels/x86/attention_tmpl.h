// SPDX-License-Identifier: MIT
// Attention's softmax on turned tiles, once for each instruction set (vec_*.h): a vector is LANES queries.

TARGET static inline V NAME(score)(const float *s, const float *mask, size_t j)
{
    const V x = V_LOAD(s + j * NN_PANEL);
    return mask ? V_ADD(x, V_SET(mask[j])) : x;
}

TARGET static void NAME(attention_exp)(float *s, size_t keys, size_t lanes, const float *mask, float *top, float *sum,
                                       float *rescale)
{
    for (size_t i = 0; i < lanes; i += LANES) {
        const V before = V_LOAD(top + i);
        V most = before;
        for (size_t j = 0; j < keys; j++)
            most = V_MAX(NAME(score)(s + i, mask, j), most); // most where the score is NaN
        const V shift = NAME(zero_if_lowest)(most);
        const V factor = NAME(exp_v)(V_SUB(before, shift));
        V total = V_MUL(V_LOAD(sum + i), factor);
        for (size_t j = 0; j < keys; j++) {
            const V e = NAME(exp_v)(V_SUB(NAME(score)(s + i, mask, j), shift));
            V_STORE(s + i + j * NN_PANEL, e);
            total = V_ADD(total, e);
        }
        V_STORE(rescale + i, factor);
        V_STORE(sum + i, total);
        V_STORE(top + i, most);
    }
}

TARGET static void NAME(attention_weights)(float *s, size_t keys, size_t lanes, const float *mask, const float *top,
                                           const float *scale)
{
    for (size_t i = 0; i < lanes; i += LANES) {
        const V shift = V_LOAD(top + i), factor = V_LOAD(scale + i);
        for (size_t j = 0; j < keys; j++) {
            const V e = NAME(exp_v)(V_SUB(NAME(score)(s + i, mask, j), shift));
            V_STORE(s + i + j * NN_PANEL, V_MUL(e, factor));
        }
    }
}

TARGET static void NAME(attention_slopes)(float *d, const float *p, size_t keys, size_t lanes, const float *delta)
{
    for (size_t i = 0; i < lanes; i += LANES) {
        const V row = V_LOAD(delta + i);
        for (size_t j = i; j < i + keys * NN_PANEL; j += NN_PANEL)
            V_STORE(d + j, V_MUL(V_LOAD(p + j), V_SUB(V_LOAD(d + j), row)));
    }
}
