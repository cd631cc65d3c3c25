// SPDX-License-Identifier: MIT
#include "nn/safetensors.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"

static int by_size_and_name(const void *pa, const void *pb)
{
    const NnToStore *a = pa, *b = pb;
    const size_t sa = nn_dtype_size(a->dtype), sb = nn_dtype_size(b->dtype);
    if (sa != sb)
        return sa > sb ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int by_name(const void *pa, const void *pb)
{
    return strcmp(*(const char *const *)pa, *(const char *const *)pb);
}

// Names are unique, not empty, UTF-8.
static bool check_names(const char *path, const NnToStore *tensors, size_t count, VcErr *err)
{
    const char **names = vc_alloc(count > 0 ? count : 1, sizeof *names);
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++) {
        names[i] = tensors[i].name;
        VC_ASSERT(strcmp(names[i], "__metadata__") != 0);
        if (names[i][0] == 0 || !vc_utf8_valid(names[i], strlen(names[i])))
            ok = vc_fail(err, VC_ERR_FORMAT, "cannot write '%s': a tensor's name is empty or not UTF-8", path);
    }
    if (ok && count > 0)
        qsort(names, count, sizeof *names, by_name);
    for (size_t i = 1; i < count && ok; i++) {
        if (strcmp(names[i - 1], names[i]) == 0)
            ok = vc_fail(err, VC_ERR_FORMAT, "cannot write '%s': two tensors are named '%.200s'", path, names[i]);
    }
    free(names);
    return ok;
}

static void put_string(VcStr *out, const char *text)
{
    vc_str_put_json(out, text, strlen(text), false);
}

static void put_metadata(VcStr *out, const NnMetadata *metadata, size_t count)
{
    vc_str_put(out, "\"__metadata__\":{");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            vc_str_putc(out, ',');
        put_string(out, metadata[i].key);
        vc_str_putc(out, ':');
        put_string(out, metadata[i].value);
    }
    vc_str_putc(out, '}');
}

// The JSON, padded with spaces so that the data begins at a multiple of 8.
static bool put_header(VcStr *out, const char *path, const NnToStore *order, size_t count, const NnMetadata *metadata,
                       size_t metadata_count, VcErr *err)
{
    size_t at = 0;
    vc_str_putc(out, '{');
    if (metadata_count > 0)
        put_metadata(out, metadata, metadata_count);
    for (size_t i = 0; i < count; i++) {
        const NnToStore *t = &order[i];
        size_t bytes, end;
        if (!nn_shape_bytes(&t->shape, t->dtype, &bytes) || !vc_add_size(at, bytes, &end) || end > INT64_MAX)
            return vc_fail(err, VC_ERR_LIMIT, "cannot write '%s': tensor '%.200s' is too large", path, t->name);
        VC_ASSERT(t->data != NULL || bytes == 0);
        if (i > 0 || metadata_count > 0)
            vc_str_putc(out, ',');
        put_string(out, t->name);
        vc_str_putf(out, ":{\"dtype\":\"%s\",\"shape\":[", nn_dtype_name(t->dtype));
        for (size_t d = 0; d < t->shape.rank; d++)
            vc_str_putf(out, "%s%zu", d > 0 ? "," : "", t->shape.dim[d]);
        vc_str_putf(out, "],\"data_offsets\":[%zu,%zu]}", at, end);
        at = end;
    }
    vc_str_putc(out, '}');
    while (out->len % 8 != 0)
        vc_str_putc(out, ' ');
    if (out->len > NN_SAFETENSORS_MAX_HEADER) {
        return vc_fail(err, VC_ERR_LIMIT, "cannot write '%s': header of %zu bytes, at most %d are allowed", path,
                       out->len, NN_SAFETENSORS_MAX_HEADER);
    }
    return true;
}

static bool write_all(const char *path, const VcStr *header, const NnToStore *order, size_t count, VcErr *err)
{
    VcAtomicFile f;
    if (!vc_atomic_begin(&f, path, err))
        return false;
    const uint64_t n = header->len;
    bool full = fwrite(&n, sizeof n, 1, f.file) == 1 && fwrite(header->data, header->len, 1, f.file) == 1;
    for (size_t i = 0; i < count && full; i++) {
        size_t bytes = 0;
        nn_shape_bytes(&order[i].shape, order[i].dtype, &bytes); // put_header saw that it fits
        full = bytes == 0 || fwrite(order[i].data, bytes, 1, f.file) == 1;
    }
    if (!full) {
        vc_fail_errno(err, "cannot write '%s'", path);
        vc_atomic_discard(&f);
        return false;
    }
    return vc_atomic_commit(&f, err);
}

bool nn_safetensors_write(const char *path, const NnToStore *tensors, size_t count, const NnMetadata *metadata,
                          size_t metadata_count, NnStoreOrder order, VcErr *err)
{
    if (!check_names(path, tensors, count, err))
        return false;
    NnToStore *list = vc_alloc(count > 0 ? count : 1, sizeof *list);
    if (count > 0)
        memcpy(list, tensors, count * sizeof *list);
    if (order == NN_STORE_SORTED && count > 0)
        qsort(list, count, sizeof *list, by_size_and_name);
    VcStr header = {0};
    const bool ok = put_header(&header, path, list, count, metadata, metadata_count, err) &&
                    write_all(path, &header, list, count, err);
    vc_str_finish(&header);
    free(list);
    return ok;
}
