// SPDX-License-Identifier: MIT
#include "nn/safetensors_private.h"

#include "base/str.h"
#include "nn/half.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weight files are little-endian and are used in place"
#endif

enum { MAX_SHARDS = 10000 };

// ---- one header ----------------------------------------------------------------------------------------------------

static bool bad_tensor(const NnShard *s, const char *name, const char *what, VcErr *err)
{
    return vc_fail(err, VC_ERR_FORMAT, "'%s': header of tensor '%.200s': %s", s->path, name, what);
}

static bool read_shape(const NnShard *s, const char *name, const VcJson *json, NnShape *shape, VcErr *err)
{
    if (!vc_json_is_array(json))
        return bad_tensor(s, name, "'shape' is missing or no array", err);
    const size_t rank = vc_json_length(json);
    if (rank > NN_MAX_RANK) {
        return vc_fail(err, VC_ERR_LIMIT, "'%s': header of tensor '%.200s': %zu dimensions, at most %d are supported",
                       s->path, name, rank, NN_MAX_RANK);
    }
    *shape = (NnShape){.rank = rank};
    for (size_t i = 0; i < rank; i++) {
        const int64_t d = vc_json_int(vc_json_item(json, i), -1);
        if (d < 0)
            return bad_tensor(s, name, "'shape' holds something that is no size", err);
        shape->dim[i] = (size_t)d;
    }
    return true;
}

static bool read_offsets(const NnShard *s, const char *name, const VcJson *json, uint64_t size, uint64_t *begin,
                         uint64_t *end, VcErr *err)
{
    if (!vc_json_is_array(json) || vc_json_length(json) != 2)
        return bad_tensor(s, name, "'data_offsets' is missing or no pair", err);
    const int64_t b = vc_json_int(vc_json_item(json, 0), -1), e = vc_json_int(vc_json_item(json, 1), -1);
    if (b < 0 || e < b)
        return bad_tensor(s, name, "'data_offsets' do not run forwards", err);
    if ((uint64_t)e > size) {
        return vc_fail(err, VC_ERR_FORMAT,
                       "'%s': tensor '%.200s' ends at byte %lld of the data, but the file holds only %llu: it is cut "
                       "short or its header lies",
                       s->path, name, (long long)e, (unsigned long long)size);
    }
    *begin = (uint64_t)b;
    *end = (uint64_t)e;
    return true;
}

static bool read_tensor(const NnShard *s, const char *name, const VcJson *json, const uint8_t *data, uint64_t size,
                        NnStored *out, VcErr *err)
{
    if (!vc_json_is_object(json))
        return bad_tensor(s, name, "not an object", err);
    *out = (NnStored){.name = name, .file = s->path};
    const char *dtype = vc_json_string(vc_json_member(json, "dtype"), NULL);
    if (dtype == NULL)
        return bad_tensor(s, name, "'dtype' is missing or no string", err);
    if (!nn_dtype_parse(dtype, &out->dtype))
        return vc_fail(err, VC_ERR_FORMAT, "'%s': tensor '%.200s' has the unknown dtype '%.40s'", s->path, name, dtype);
    if (!read_shape(s, name, vc_json_member(json, "shape"), &out->shape, err))
        return false;
    uint64_t begin = 0, end = 0;
    if (!read_offsets(s, name, vc_json_member(json, "data_offsets"), size, &begin, &end, err))
        return false;
    char shape[NN_SHAPE_TEXT];
    if (!nn_shape_count(&out->shape, &out->count) || !nn_shape_bytes(&out->shape, out->dtype, &out->bytes)) {
        return vc_fail(err, VC_ERR_FORMAT, "'%s': tensor '%.200s': %s %s is more than memory can address", s->path,
                       name, dtype, nn_shape_text(&out->shape, shape));
    }
    if (out->bytes != end - begin) {
        return vc_fail(err, VC_ERR_FORMAT, "'%s': tensor '%.200s': %s %s needs %zu bytes, its data_offsets give %llu",
                       s->path, name, dtype, nn_shape_text(&out->shape, shape), out->bytes,
                       (unsigned long long)(end - begin));
    }
    out->data = data + begin;
    return true;
}

static bool check_metadata(const NnShard *s, const VcJson *json, VcErr *err)
{
    if (!vc_json_is_object(json))
        return vc_fail(err, VC_ERR_FORMAT, "'%s': __metadata__ is no object", s->path);
    void *iter = NULL;
    const char *key;
    VcJson *value;
    while (vc_json_next_member(json, &iter, &key, &value)) {
        if (!vc_json_is_string(value))
            return vc_fail(err, VC_ERR_FORMAT, "'%s': __metadata__ '%.200s' is no string", s->path, key);
    }
    return true;
}

static int by_place(const void *pa, const void *pb)
{
    const NnStored *a = pa, *b = pb;
    if (a->data != b->data)
        return a->data < b->data ? -1 : 1;
    return (a->bytes > b->bytes) - (a->bytes < b->bytes); // empty ones before what starts at the same place
}

// The tensors of one file follow each other from the first byte of the data to the last.
static bool check_cover(const NnShard *s, NnStored *tensors, size_t count, const uint8_t *data, uint64_t size,
                        VcErr *err)
{
    if (count > 0)
        qsort(tensors, count, sizeof *tensors, by_place);
    const uint8_t *at = data;
    for (size_t i = 0; i < count; i++) {
        if (tensors[i].data < at) {
            return vc_fail(err, VC_ERR_FORMAT, "'%s': tensors '%.200s' and '%.200s' overlap", s->path,
                           tensors[i - 1].name, tensors[i].name);
        }
        if (tensors[i].data > at) {
            return vc_fail(err, VC_ERR_FORMAT, "'%s': %zu bytes before tensor '%.200s' belong to no tensor", s->path,
                           (size_t)(tensors[i].data - at), tensors[i].name);
        }
        at += tensors[i].bytes;
    }
    if ((uint64_t)(at - data) != size) {
        return vc_fail(err, VC_ERR_FORMAT, "'%s': %llu bytes after the last tensor belong to none", s->path,
                       (unsigned long long)(size - (uint64_t)(at - data)));
    }
    return true;
}

static bool read_header(NnShard *s, uint64_t *header_size, VcErr *err)
{
    if (s->map.size < 8) {
        return vc_fail(err, VC_ERR_FORMAT, "'%s' is no safetensors file: %zu bytes, at least 8 + header are needed",
                       s->path, s->map.size);
    }
    uint64_t n;
    memcpy(&n, s->map.data, sizeof n);
    if (n > NN_SAFETENSORS_MAX_HEADER) {
        return vc_fail(err, VC_ERR_LIMIT,
                       "'%s' is no safetensors file, or a damaged one: header of %llu bytes, at most %d are accepted",
                       s->path, (unsigned long long)n, NN_SAFETENSORS_MAX_HEADER);
    }
    if (n > s->map.size - 8) {
        return vc_fail(err, VC_ERR_FORMAT, "'%s' is cut short: header of %llu bytes in a file of %zu", s->path,
                       (unsigned long long)n, s->map.size);
    }
    const char *text = (const char *)s->map.data + 8;
    if (n < 2 || text[0] != '{')
        return vc_fail(err, VC_ERR_FORMAT, "'%s' is no safetensors file: its header does not begin with '{'", s->path);
    VcStr what = {0};
    vc_str_putf(&what, "the header of '%s'", s->path);
    const bool ok = vc_json_parse(&s->header, text, n, what.data, err);
    vc_str_finish(&what);
    *header_size = n;
    return ok;
}

NnShard *nn_shard_add(NnSafetensors *st, const char *path)
{
    st->shards = vc_grow(st->shards, &st->shard_cap, st->shard_count + 1, sizeof *st->shards);
    NnShard *s = &st->shards[st->shard_count++];
    *s = (NnShard){.path = vc_strdup(path)};
    return s;
}

void nn_stored_add(NnSafetensors *st, NnStored tensor)
{
    st->tensors = vc_grow(st->tensors, &st->cap, st->count + 1, sizeof *st->tensors);
    st->tensors[st->count++] = tensor;
}

// Appends the tensors of one file to st.
static bool read_shard(NnSafetensors *st, const char *path, VcErr *err)
{
    NnShard *s = nn_shard_add(st, path);
    uint64_t header_size = 0;
    if (!vc_map_open(&s->map, path, err) || !read_header(s, &header_size, err))
        return false;
    const uint8_t *data = s->map.data + 8 + header_size;
    const uint64_t size = s->map.size - 8 - header_size;
    const size_t first = st->count;
    void *iter = NULL;
    const char *name;
    VcJson *value;
    while (vc_json_next_member(s->header, &iter, &name, &value)) {
        if (strcmp(name, "__metadata__") == 0) {
            if (!check_metadata(s, value, err))
                return false;
            continue;
        }
        NnStored tensor;
        if (!read_tensor(s, name, value, data, size, &tensor, err))
            return false;
        nn_stored_add(st, tensor);
    }
    return check_cover(s, st->tensors + first, st->count - first, data, size, err);
}

// ---- sets ----------------------------------------------------------------------------------------------------------

static int by_name(const void *pa, const void *pb)
{
    const NnStored *a = pa, *b = pb;
    return strcmp(a->name, b->name);
}

static bool sort_names(NnSafetensors *st, VcErr *err)
{
    if (st->count > 0)
        qsort(st->tensors, st->count, sizeof *st->tensors, by_name);
    for (size_t i = 1; i < st->count; i++) {
        const NnStored *a = &st->tensors[i - 1], *b = &st->tensors[i];
        if (strcmp(a->name, b->name) == 0)
            return vc_fail(err, VC_ERR_FORMAT, "tensor '%.200s' is in '%s' and in '%s'", a->name, a->file, b->file);
    }
    return true;
}

static bool plain_file_name(const char *name)
{
    return name[0] != 0 && name[0] != '.' && strchr(name, '/') == NULL;
}

static char *beside(const char *path, const char *name)
{
    char *dir = vc_strndup(path, (size_t)(vc_path_base(path) - path));
    char *joined = vc_path_join(dir[0] != 0 ? dir : ".", name);
    free(dir);
    return joined;
}

static bool has_shard(const NnSafetensors *st, const char *path)
{
    for (size_t i = 0; i < st->shard_count; i++) {
        if (strcmp(st->shards[i].path, path) == 0)
            return true;
    }
    return false;
}

// Every file that the weight_map names, each once.
static bool read_shards(NnSafetensors *st, const VcJson *map, NnShardReader *read, VcErr *err)
{
    void *iter = NULL;
    const char *name;
    VcJson *value;
    while (vc_json_next_member(map, &iter, &name, &value)) {
        const char *file = vc_json_string(value, NULL);
        if (file == NULL || !plain_file_name(file)) {
            return vc_fail(err, VC_ERR_FORMAT,
                           "'%s': weight_map of '%.200s' must be the name of a file in the same folder", st->path,
                           name);
        }
        char *path = beside(st->path, file);
        bool ok = true;
        if (!has_shard(st, path)) {
            ok = st->shard_count < MAX_SHARDS
                     ? read(st, path, err)
                     : vc_fail(err, VC_ERR_LIMIT, "'%s': more than %d shards", st->path, MAX_SHARDS);
        }
        free(path);
        if (!ok)
            return false;
    }
    return true;
}

static bool check_weight_map(const NnSafetensors *st, const VcJson *map, VcErr *err)
{
    void *iter = NULL;
    const char *name;
    VcJson *value;
    while (vc_json_next_member(map, &iter, &name, &value)) {
        const NnStored *t = nn_safetensors_find(st, name);
        const char *file = vc_json_string(value, NULL);
        if (t == NULL || strcmp(vc_path_base(t->file), file) != 0) {
            return vc_fail(err, VC_ERR_FORMAT, "'%s': tensor '%.200s' should be in '%s' and is not", st->path, name,
                           file);
        }
    }
    return true;
}

static bool read_index(NnSafetensors *st, NnShardReader *read, VcErr *err)
{
    VcJson *json = NULL;
    if (!vc_json_read_file(&json, st->path, NN_SAFETENSORS_MAX_HEADER, err))
        return false;
    const VcJson *map = vc_json_member(json, "weight_map");
    bool ok;
    if (!vc_json_is_object(map) || vc_json_length(map) == 0) {
        ok = vc_fail(err, VC_ERR_FORMAT, "'%s': 'weight_map' is missing, empty or no object", st->path);
    } else {
        ok = read_shards(st, map, read, err) && sort_names(st, err) && check_weight_map(st, map, err);
    }
    vc_json_destroy(&json);
    return ok;
}

bool nn_set_open(NnSafetensors **out, const char *path, NnShardReader *read, VcErr *err)
{
    NnSafetensors *st = vc_calloc(1, sizeof *st);
    st->path = vc_strdup(path);
    const bool ok =
        vc_has_suffix(path, ".index.json") ? read_index(st, read, err) : read(st, path, err) && sort_names(st, err);
    if (!ok) {
        nn_safetensors_close(&st);
        return false;
    }
    *out = st;
    return true;
}

bool nn_safetensors_open(NnSafetensors **out, const char *path, VcErr *err)
{
    return nn_set_open(out, path, read_shard, err);
}

bool nn_safetensors_open_dir(NnSafetensors **out, const char *dir, const char *stem, VcErr *err)
{
    VcStr path = {0};
    vc_str_putf(&path, "%s/%s.safetensors", dir, stem);
    if (!vc_exists(path.data)) {
        vc_str_put(&path, ".index.json");
        if (!vc_exists(path.data)) {
            vc_str_finish(&path);
            return vc_fail(err, VC_ERR_IO,
                           "'%s' holds no weights: neither '%s.safetensors' nor '%s.safetensors.index.json' is there",
                           dir, stem, stem);
        }
    }
    const bool ok = nn_safetensors_open(out, path.data, err);
    vc_str_finish(&path);
    return ok;
}

void nn_safetensors_close(NnSafetensors **set)
{
    if (set == NULL || *set == NULL)
        return;
    NnSafetensors *st = *set;
    for (size_t i = 0; i < st->shard_count; i++) {
        vc_json_destroy(&st->shards[i].header);
        vc_map_close(&st->shards[i].map);
        vc_arena_destroy(&st->shards[i].owned);
        free(st->shards[i].path);
    }
    free(st->shards);
    free(st->tensors);
    free(st->path);
    free(st);
    *set = NULL;
}

void nn_safetensors_drop(const NnSafetensors *st)
{
    for (size_t i = 0; st != NULL && i < st->shard_count; i++)
        vc_map_drop(&st->shards[i].map);
}

const char *nn_safetensors_path(const NnSafetensors *st)
{
    return st->path;
}

size_t nn_safetensors_count(const NnSafetensors *st)
{
    return st->count;
}

const NnStored *nn_safetensors_at(const NnSafetensors *st, size_t index)
{
    VC_ASSERT(index < st->count);
    return &st->tensors[index];
}

const NnStored *nn_safetensors_find(const NnSafetensors *st, const char *name)
{
    const NnStored key = {.name = name};
    return st->count > 0 ? bsearch(&key, st->tensors, st->count, sizeof *st->tensors, by_name) : NULL;
}

const char *nn_safetensors_metadata(const NnSafetensors *st, const char *key)
{
    for (size_t i = 0; i < st->shard_count; i++) {
        const VcJson *value = vc_json_member(vc_json_member(st->shards[i].header, "__metadata__"), key);
        if (value != NULL)
            return vc_json_string(value, NULL);
    }
    return NULL;
}

// ---- loading -------------------------------------------------------------------------------------------------------

static const NnStored *find_shaped(const NnSafetensors *st, const char *name, const NnShape *shape, VcErr *err)
{
    char want[NN_SHAPE_TEXT], found[NN_SHAPE_TEXT];
    const NnStored *t = nn_safetensors_find(st, name);
    if (t == NULL) {
        vc_fail(err, VC_ERR_FORMAT, "'%s': tensor '%.200s' is missing (shape %s expected)", st->path, name,
                nn_shape_text(shape, want));
    } else if (!nn_shape_equal(&t->shape, shape)) {
        vc_fail(err, VC_ERR_FORMAT, "'%s': tensor '%.200s' has shape %s, expected %s", t->file, name,
                nn_shape_text(&t->shape, found), nn_shape_text(shape, want));
        t = NULL;
    }
    return t;
}

static bool wrong_dtype(const NnStored *t, const char *expected, VcErr *err)
{
    return vc_fail(err, VC_ERR_FORMAT, "'%s': tensor '%.200s' is stored as %s, expected %s", t->file, t->name,
                   nn_dtype_name(t->dtype), expected);
}

static void copy_bytes(void *out, const NnStored *t)
{
    if (t->bytes > 0)
        memcpy(out, t->data, t->bytes);
}

static double f64_at(const NnStored *t, size_t i)
{
    double d;
    memcpy(&d, t->data + i * sizeof d, sizeof d);
    return d;
}

bool nn_safetensors_load_f32(const NnSafetensors *st, const char *name, NnShape shape, float *out, VcErr *err)
{
    const NnStored *t = find_shaped(st, name, &shape, err);
    if (t == NULL)
        return false;
    switch (t->dtype) {
    case NN_F32:
        copy_bytes(out, t);
        return true;
    case NN_F16:
        nn_f16_to_f32_array(out, t->data, t->count);
        return true;
    case NN_BF16:
        nn_bf16_to_f32_array(out, t->data, t->count);
        return true;
    case NN_F64:
        for (size_t i = 0; i < t->count; i++)
            out[i] = (float)f64_at(t, i);
        return true;
    default:
        return wrong_dtype(t, "F32, F16, BF16 or F64", err);
    }
}

bool nn_safetensors_load_f64(const NnSafetensors *st, const char *name, NnShape shape, double *out, VcErr *err)
{
    const NnStored *t = find_shaped(st, name, &shape, err);
    if (t == NULL)
        return false;
    if (t->dtype == NN_F64) {
        copy_bytes(out, t);
        return true;
    }
    if (t->dtype != NN_F32 && t->dtype != NN_F16 && t->dtype != NN_BF16)
        return wrong_dtype(t, "F64, F32, F16 or BF16", err);
    for (size_t i = 0; i < t->count; i++) {
        float f;
        uint16_t h;
        if (t->dtype == NN_F32) {
            memcpy(&f, t->data + i * sizeof f, sizeof f);
        } else {
            memcpy(&h, t->data + i * sizeof h, sizeof h);
            f = t->dtype == NN_F16 ? nn_f16_to_f32(h) : nn_bf16_to_f32(h);
        }
        out[i] = f;
    }
    return true;
}

// *out = element i; false where there is no such int64_t.
static bool int_at(const NnStored *t, size_t i, int64_t *out)
{
    const uint8_t *p = t->data + i * nn_dtype_size(t->dtype);
    uint64_t u = 0;
    memcpy(&u, p, nn_dtype_size(t->dtype));
    switch (t->dtype) {
    case NN_I8:
        *out = (int64_t)u - (u > INT8_MAX ? 256 : 0);
        return true;
    case NN_I16:
        *out = (int16_t)u;
        return true;
    case NN_I32:
        *out = (int32_t)u;
        return true;
    case NN_BOOL:
        *out = u != 0;
        return true;
    case NN_U64:
        *out = (int64_t)u;
        return u <= INT64_MAX;
    default: // I64, U8, U16, U32
        *out = (int64_t)u;
        return true;
    }
}

static bool is_integer(NnDtype dtype)
{
    return dtype != NN_F32 && dtype != NN_F16 && dtype != NN_BF16 && dtype != NN_F64;
}

static bool unfit(const NnStored *t, size_t i, const char *type, VcErr *err)
{
    return vc_fail(err, VC_ERR_FORMAT, "'%s': tensor '%.200s': element %zu does not fit in %s", t->file, t->name, i,
                   type);
}

bool nn_safetensors_load_i64(const NnSafetensors *st, const char *name, NnShape shape, int64_t *out, VcErr *err)
{
    const NnStored *t = find_shaped(st, name, &shape, err);
    if (t == NULL)
        return false;
    if (!is_integer(t->dtype))
        return wrong_dtype(t, "an integer type", err);
    int64_t value;
    for (size_t i = 0; i < t->count; i++) { // looked at first: out is untouched on failure
        if (!int_at(t, i, &value))
            return unfit(t, i, "a signed 64-bit integer", err);
    }
    for (size_t i = 0; i < t->count; i++)
        int_at(t, i, &out[i]);
    return true;
}

bool nn_safetensors_load_i32(const NnSafetensors *st, const char *name, NnShape shape, int32_t *out, VcErr *err)
{
    const NnStored *t = find_shaped(st, name, &shape, err);
    if (t == NULL)
        return false;
    if (!is_integer(t->dtype))
        return wrong_dtype(t, "an integer type", err);
    int64_t value;
    for (size_t i = 0; i < t->count; i++) {
        if (!int_at(t, i, &value) || value < INT32_MIN || value > INT32_MAX)
            return unfit(t, i, "a signed 32-bit integer", err);
    }
    for (size_t i = 0; i < t->count; i++) {
        int_at(t, i, &value);
        out[i] = (int32_t)value;
    }
    return true;
}

bool nn_safetensors_load_raw(const NnSafetensors *st, const char *name, NnDtype dtype, NnShape shape, void *out,
                             VcErr *err)
{
    const NnStored *t = find_shaped(st, name, &shape, err);
    if (t == NULL)
        return false;
    if (t->dtype != dtype)
        return wrong_dtype(t, nn_dtype_name(dtype), err);
    copy_bytes(out, t);
    return true;
}

bool nn_safetensors_view_f32(const NnSafetensors *st, const char *name, NnShape shape, const float **view, VcErr *err)
{
    const NnStored *t = find_shaped(st, name, &shape, err);
    if (t == NULL)
        return false;
    *view = t->dtype == NN_F32 && (uintptr_t)t->data % sizeof(float) == 0 ? (const float *)(const void *)t->data : NULL;
    return true;
}
