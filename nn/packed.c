// SPDX-License-Identifier: MIT
#include "nn/packed.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

#ifndef NN_DOUBLE // inference is float

size_t nn_packed_words(NnPackedKind kind, size_t in)
{
    return kind == NN_PACKED_FP32 ? in : kind == NN_PACKED_BF16 ? (in + 1) / 2 : (in + 3) / 4;
}

static size_t panels_of(const NnPacked *p)
{
    return (p->out + NN_PANEL - 1) / NN_PANEL;
}

// ---- packing -------------------------------------------------------------------------------------------------------

// Row `o` of the layers side by side: its weights and what they are multiplied by; *b: its bias.
static const float *weights_of(const NnPacked *p, size_t o, float *factor, float *b)
{
    const NnPackedPart *part = p->parts;
    for (; o >= part->out; part++)
        o -= part->out;
    *factor = part->factor;
    *b = part->b != NULL ? part->b[o] * part->factor : 0;
    return part->w + o * p->in;
}

// Whether all of x are finite; in lanes, whose sums the compiler keeps in vectors.
static bool all_finite(const float *x, size_t n)
{
    enum { LANES = 16 };
    float nan[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t l = 0; l < LANES; l++)
            nan[l] += x[i + l] * 0;
    }
    for (; i < n; i++)
        nan[0] += x[i] * 0;
    for (size_t l = 1; l < LANES; l++)
        nan[0] += nan[l];
    return nan[0] == 0;
}

// to[I] = row o, all factors in it. False where one is no number.
static bool gather_row(const NnPacked *p, float *to, size_t o, const float *columns)
{
    float factor, b;
    const float *w = weights_of(p, o, &factor, &b);
    for (size_t i = 0; columns != NULL && i < p->in; i++)
        to[i] = w[i] * factor * columns[i];
    for (size_t i = 0; columns == NULL && i < p->in; i++)
        to[i] = w[i] * factor;
    p->bias[o] = b;
    return all_finite(to, p->in) && b * 0 == 0;
}

// One output's weights to bytes: its scale and their sum, w ~ scale q.
static void to_bytes(const NnPacked *p, size_t o, const float *w, int8_t *q)
{
    enum { LANES = 16 };
    float most[LANES] = {0};
    for (size_t i = 0; i < p->in; i += LANES) {
        const size_t lanes = p->in - i < LANES ? p->in - i : LANES;
        for (size_t l = 0; l < lanes; l++)
            most[l] = fabsf(w[i + l]) > most[l] ? fabsf(w[i + l]) : most[l];
    }
    for (size_t l = 1; l < LANES; l++)
        most[0] = most[l] > most[0] ? most[l] : most[0];
    const float scale = most[0] < 1e-30F ? 0 : most[0] / 127, inverse = scale > 0 ? 127 / most[0] : 0;
    const float big = 12582912; // 1.5 x 2^23: the sum's last digit is the unit, so it rounds to nearest even
    int32_t sum = 0;
    for (size_t i = 0; i < p->in; i++) {
        const float rounded = w[i] * inverse + big;
        q[i] = (int8_t)(rounded - big);
        sum += q[i];
    }
    p->width[o] = scale;
    p->sums[o] = sum;
}

// Bytes q[NN_PANEL][4 words] to panel[words][NN_PANEL].
static void turn_bytes(uint32_t *panel, const int8_t *q, size_t words)
{
    for (size_t j = 0; j < NN_PANEL; j++) {
        for (size_t i = 0; i < words; i++)
            memcpy(&panel[i * NN_PANEL + j], q + (j * words + i) * 4, 4);
    }
}

typedef struct {
    NnPacked *p;
    const NnKernels *kernels;
    const float *columns;
    bool *bad; // [panels]
} PackJob;

static void pack_panel(const PackJob *job, size_t j, float *rows, int8_t *bytes)
{
    NnPacked *p = job->p;
    const size_t left = p->out - j * NN_PANEL, count = left < NN_PANEL ? left : NN_PANEL;
    uint32_t *panel = p->data + j * p->words * NN_PANEL;
    for (size_t o = 0; o < count; o++) {
        float *row = rows + o * p->in;
        job->bad[j] |= !gather_row(p, row, j * NN_PANEL + o, job->columns);
        if (p->kind == NN_PACKED_INT8 && !job->bad[j])
            to_bytes(p, j * NN_PANEL + o, row, bytes + o * p->words * 4);
    }
    if (p->kind == NN_PACKED_FP32) {
        job->kernels->gemm_pack((float *)(void *)panel, NN_PANEL, rows, p->in, 1, count, p->in);
    } else if (p->kind == NN_PACKED_BF16) {
        job->kernels->gemm_pack_bf16(panel, NN_PANEL, rows, p->in, 1, count, p->in);
    } else {
        memset(bytes + count * p->words * 4, 0, (NN_PANEL - count) * p->words * 4);
        turn_bytes(panel, bytes, p->words);
    }
}

static void pack_panels(void *ctx, size_t begin, size_t end, size_t worker)
{
    (void)worker;
    const PackJob *job = ctx;
    const NnPacked *p = job->p;
    float *rows = vc_alloc_aligned((size_t)NN_PANEL * p->in, sizeof *rows);
    int8_t *bytes = vc_calloc(NN_PANEL * p->words, 4);
    for (size_t j = begin; j < end; j++)
        pack_panel(job, j, rows, bytes);
    free(rows);
    free(bytes);
}

bool nn_packed_init(NnPacked *p, VcPool *pool, NnPackedKind kind, const NnPackedPart *parts, size_t count, size_t in,
                    const float *columns, bool now, VcErr *err)
{
    VC_ASSERT(count <= NN_PACKED_PARTS && (now || (kind == NN_PACKED_FP32 && columns == NULL)));
    *p = (NnPacked){.kind = kind, .in = in, .words = nn_packed_words(kind, in), .count = count};
    for (size_t i = 0; i < count; i++) {
        p->parts[i] = parts[i];
        p->out += parts[i].out;
    }
    if (kind == NN_PACKED_INT8 && in > NN_PACKED_MAX_IN) {
        return vc_fail(err, VC_ERR_LIMIT, "a layer of %zu inputs is too wide for int8; use bf16", in);
    }
    const size_t panels = panels_of(p), columns_all = panels * NN_PANEL;
    p->bias = vc_calloc(columns_all * 3, sizeof *p->bias);
    p->width = p->bias + columns_all;
    p->sums = (int32_t *)(void *)(p->width + columns_all);
    if (!now) {
        float factor;
        for (size_t o = 0; o < p->out; o++)
            weights_of(p, o, &factor, &p->bias[o]);
        return true;
    }
    p->data = vc_alloc_aligned(panels * p->words * NN_PANEL, sizeof *p->data);
    PackJob job = {p, nn_kernels(), columns, vc_calloc(panels, sizeof(bool))};
    vc_parallel_for(pool, panels, 4, pack_panels, &job);
    bool ok = true;
    for (size_t j = 0; j < panels; j++)
        ok = ok && !job.bad[j];
    free(job.bad);
    if (!ok) {
        nn_packed_finish(p);
        return vc_fail(err, VC_ERR_FORMAT, "a weight is no finite number");
    }
    return true;
}

void nn_packed_finish(NnPacked *p)
{
    free(p->data);
    free(p->bias);
    *p = (NnPacked){0};
}

size_t nn_packed_bytes(const NnPacked *p)
{
    return p->data == NULL ? 0 : panels_of(p) * NN_PANEL * (p->words * sizeof *p->data + 3 * sizeof *p->bias);
}

// ---- rows ----------------------------------------------------------------------------------------------------------

void nn_packed_put(const NnKernels *k, NnPackedRows *to, size_t r, const float *x, size_t in, const float *columns)
{
    VC_ASSERT(columns == NULL || to->kind == NN_PACKED_INT8);
    uint32_t *row = to->data + r * to->words;
    if (to->kind == NN_PACKED_FP32) {
        memcpy(row, x, in * sizeof *x);
        return;
    }
    row[to->words - 1] = 0; // what stands behind the last input
    if (to->kind == NN_PACKED_BF16) {
        k->round_bf16(row, x, in);
    } else {
        k->quantize((uint8_t *)row, &to->scale[r], &to->zero[r], x, columns, in);
    }
}

// ---- the product ---------------------------------------------------------------------------------------------------

static void store(const NnKernels *k, const NnPackedOut *out, const float *tile, size_t row, size_t rows, size_t column,
                  size_t columns)
{
    void (*half)(void *, const float *, size_t) = out->activation.half != NULL ? out->activation.half : k->round_bf16;
    for (size_t r = 0; r < rows; r++, tile += NN_PANEL) {
        if (out->y == NULL) {
            half((uint8_t *)(out->half->data + (row + r) * out->half->words) + 2 * (out->at + column), tile, columns);
            continue;
        }
        float *y = out->y + (row + r) * out->ldy + column;
        if (out->add) {
            k->add(y, tile, columns);
        } else {
            memcpy(y, tile, columns * sizeof *y);
        }
    }
}

// Rows [row, row+rows) of panel j, up to the activation.
static void multiply(const NnKernels *k, const NnPacked *p, const uint32_t *panel, const NnPackedRows *x, size_t row,
                     size_t rows, size_t j, float *tile)
{
    const uint32_t *a = x->data + row * x->words;
    const float *bias = p->bias + j * NN_PANEL;
    if (p->kind == NN_PACKED_INT8) {
        int32_t sums[NN_STRIP * NN_PANEL];
        k->gemm_tile_int8(sums, a, x->words, panel, p->words, rows);
        k->dequantize(tile, sums, x->scale + row, x->zero + row, p->width + j * NN_PANEL, p->sums + j * NN_PANEL, bias,
                      rows);
        return;
    }
    if (p->kind == NN_PACKED_BF16) {
        k->gemm_tile_bf16(tile, NN_PANEL, a, x->words, 1, panel, p->in, rows, NN_PANEL, 1, 0);
    } else {
        k->gemm_tile(tile, NN_PANEL, (const float *)(const void *)a, x->words, 1, (const float *)(const void *)panel,
                     p->in, rows, NN_PANEL, 1, 0);
    }
    k->add_rows(tile, bias, rows, NN_PANEL);
}

// Asks for the lines that a tile will be stored to while its product runs.
static void fetch(const NnPackedOut *out, size_t row, size_t rows, size_t column)
{
    for (size_t r = row; r < row + rows && out->y != NULL; r++) {
        const float *y = out->y + r * out->ldy + column;
        __builtin_prefetch(y, 1);
        __builtin_prefetch(y + 16, 1);
    }
}

// The panel of a layer that was left as views.
static void pack_view(const NnKernels *k, const NnPacked *p, size_t j, float *panel)
{
    size_t done = 0;
    const size_t left = p->out - j * NN_PANEL, count = left < NN_PANEL ? left : NN_PANEL;
    while (done < count) { // runs of rows of one part
        size_t o = j * NN_PANEL + done;
        const NnPackedPart *part = p->parts;
        for (; o >= part->out; part++)
            o -= part->out;
        const size_t n = part->out - o < count - done ? part->out - o : count - done;
        if (n == count && part->factor == 1) {
            k->gemm_pack(panel, NN_PANEL, part->w + o * p->in, p->in, 1, count, p->in);
        } else {
            for (size_t c = 0; c < n; c++) {
                for (size_t i = 0; i < p->in; i++)
                    panel[i * NN_PANEL + done + c] = part->w[(o + c) * p->in + i] * part->factor;
            }
        }
        done += n;
    }
    for (size_t i = 0; count < NN_PANEL && i < p->in; i++)
        memset(panel + i * NN_PANEL + count, 0, (NN_PANEL - count) * sizeof *panel);
}

void nn_packed_linear(const NnKernels *k, const NnPacked *p, const NnPackedRows *x, size_t rows, const NnPackedOut *out,
                      float *panel)
{
    VC_ASSERT(x->kind == p->kind && x->words == p->words);
    float tile[NN_STRIP * NN_PANEL];
    for (size_t j = 0; j < panels_of(p); j++) {
        const size_t column = j * NN_PANEL, left = p->out - column, columns = left < NN_PANEL ? left : NN_PANEL;
        const uint32_t *from = p->data != NULL ? p->data + j * p->words * NN_PANEL : (const uint32_t *)(void *)panel;
        if (p->data == NULL)
            pack_view(k, p, j, panel);
        for (size_t row = 0; row < rows; row += NN_STRIP) {
            const size_t n = rows - row < NN_STRIP ? rows - row : NN_STRIP;
            fetch(out, row, n, column);
            multiply(k, p, from, x, row, n, j, tile);
            if (out->y != NULL && out->activation.real != NULL)
                out->activation.real(tile, tile, n * NN_PANEL);
            store(k, out, tile, row, n, column, columns);
        }
    }
}

#endif
