// SPDX-License-Identifier: MIT
#include "index/mds.h"

#include "base/mem.h"

#include <string.h>

static const struct {
    const char *name;
    size_t size;
} types[MDS_TYPES] = {
    [MDS_U8] = {"uint8", 1},    [MDS_U16] = {"uint16", 2},  [MDS_U32] = {"uint32", 4},  [MDS_U64] = {"uint64", 8},
    [MDS_I8] = {"int8", 1},     [MDS_I16] = {"int16", 2},   [MDS_I32] = {"int32", 4},   [MDS_I64] = {"int64", 8},
    [MDS_F16] = {"float16", 2}, [MDS_F32] = {"float32", 4}, [MDS_F64] = {"float64", 8},
};

static const struct {
    const char *name;
    MdsKind kind;
} plain[] = {
    {"bytes", MDS_BYTES}, {"jpeg", MDS_JPEG}, {"png", MDS_PNG}, {"str", MDS_STR}, {"json", MDS_JSON}, {"int", MDS_INT},
};

size_t mds_type_size(MdsType type)
{
    VC_ASSERT((int)type >= 0 && type < MDS_TYPES);
    return types[type].size;
}

static bool find_type(MdsType *out, const char *name, size_t n)
{
    for (int t = 0; t < MDS_TYPES; t++) {
        if (strlen(types[t].name) == n && memcmp(types[t].name, name, n) == 0) {
            *out = (MdsType)t;
            return true;
        }
    }
    return false;
}

// "256,256,3" with the spaces that Python's int() allows.
static bool parse_shape(MdsEncoding *e, const char *text, VcErr *err)
{
    uint64_t size = types[e->type].size;
    for (const char *p = text;; p++) {
        uint64_t dim = 0;
        int digits = 0;
        while (*p == ' ')
            p++;
        for (; *p >= '0' && *p <= '9' && dim <= UINT32_MAX; p++, digits++)
            dim = dim * 10 + (uint64_t)(*p - '0');
        while (*p == ' ')
            p++;
        if (digits == 0 || dim == 0 || (*p != ',' && *p != 0))
            return vc_fail(err, VC_ERR_FORMAT, "shape '%s' is not a list of positive numbers", text);
        if (e->ndim == MDS_MAX_DIMS)
            return vc_fail(err, VC_ERR_LIMIT, "shape has more than %d axes", (int)MDS_MAX_DIMS);
        if (e->ndim < 4)
            e->dims[e->ndim] = dim;
        e->ndim++;
        if (dim > UINT32_MAX || size > UINT32_MAX / dim)
            return vc_fail(err, VC_ERR_LIMIT, "shape '%s' is over 4 GiB", text);
        size *= dim;
        if (*p == 0)
            break;
    }
    e->size = size;
    return true;
}

static bool parse_ndarray(MdsEncoding *e, const char *text, VcErr *err)
{
    e->kind = MDS_NDARRAY;
    if (*text == 0)
        return vc_fail(err, VC_ERR_FORMAT, "an ndarray without a type is not read; expected 'ndarray:TYPE'");
    const char *colon = strchr(text, ':');
    size_t n = colon != NULL ? (size_t)(colon - text) : strlen(text);
    if (!find_type(&e->type, text, n))
        return vc_fail(err, VC_ERR_FORMAT, "unknown array type '%.*s'", (int)(n < 40 ? n : 40), text);
    return colon == NULL || parse_shape(e, colon + 1, err);
}

bool mds_encoding_parse(MdsEncoding *out, const char *text, VcErr *err)
{
    MdsEncoding e = {.type = MDS_U8};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        if (strcmp(text, plain[i].name) == 0) {
            e.kind = plain[i].kind;
            if (e.kind == MDS_INT) {
                e.type = MDS_I64;
                e.size = 8;
            }
            *out = e;
            return true;
        }
    }
    if (find_type(&e.type, text, strlen(text))) {
        e.kind = MDS_SCALAR;
        e.size = types[e.type].size;
    } else if (strcmp(text, "ndarray") == 0 || vc_has_prefix(text, "ndarray:")) {
        if (!parse_ndarray(&e, text + (text[7] == ':' ? 8 : 7), err))
            return false;
    } else if (strcmp(text, "pkl") == 0) {
        return vc_fail(err, VC_ERR_FORMAT, "encoding 'pkl' runs code when it is read and is refused");
    } else {
        return vc_fail(err, VC_ERR_FORMAT, "encoding '%.60s' is not one this program reads", text);
    }
    *out = e;
    return true;
}

bool mds_schema_make(MdsSchema *out, const char *const *names, const char *const *encodings, size_t count, VcErr *err)
{
    if (count == 0 || count > MDS_MAX_COLUMNS)
        return vc_fail(err, VC_ERR_LIMIT, "%zu columns; a set has 1 to %d", count, (int)MDS_MAX_COLUMNS);
    MdsSchema s = {.columns = vc_calloc(count, sizeof(MdsColumn)), .count = count};
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && strcmp(names[i - 1], names[i]) >= 0) {
            vc_fail(err, VC_ERR_FORMAT, "column '%.60s' %s", names[i],
                    strcmp(names[i - 1], names[i]) == 0 ? "is named twice" : "is not in sorted order");
            goto fail;
        }
        s.columns[i].name = vc_strdup(names[i]);
        s.columns[i].encoding = vc_strdup(encodings[i]);
        if (!mds_encoding_parse(&s.columns[i].form, encodings[i], err)) {
            vc_prefix(err, "column '%.60s'", names[i]);
            goto fail;
        }
        s.variable += s.columns[i].form.size == 0;
    }
    *out = s;
    return true;
fail:
    mds_schema_finish(&s);
    return false;
}

void mds_schema_finish(MdsSchema *schema)
{
    for (size_t i = 0; i < schema->count; i++) {
        free(schema->columns[i].name);
        free(schema->columns[i].encoding);
    }
    free(schema->columns);
    *schema = (MdsSchema){0};
}

bool mds_schema_equal(const MdsSchema *a, const MdsSchema *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->columns[i].name, b->columns[i].name) != 0 ||
            strcmp(a->columns[i].encoding, b->columns[i].encoding) != 0)
            return false;
    }
    return true;
}

int mds_schema_find(const MdsSchema *schema, const char *name)
{
    for (size_t i = 0; i < schema->count; i++) {
        if (strcmp(schema->columns[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

static uint64_t read_dim(const uint8_t *p, unsigned w)
{
    uint64_t dim = 0;
    memcpy(&dim, p, (size_t)1 << w); // little-endian, as every machine this builds for
    return dim;
}

bool mds_array_parse(MdsArray *out, const MdsEncoding *form, const uint8_t *data, size_t n, VcErr *err)
{
    VC_ASSERT(form->kind == MDS_NDARRAY);
    size_t item = types[form->type].size;
    MdsArray a = {.ndim = form->ndim};
    if (form->size != 0) { // the shape is the encoding's
        if (n != form->size)
            return vc_fail(err, VC_ERR_FORMAT, "%zu bytes instead of %llu", n, (unsigned long long)form->size);
        memcpy(a.dims, form->dims, sizeof a.dims);
        a.values = data;
        a.count = n / item;
        *out = a;
        return true;
    }
    if (n < 1)
        return vc_fail(err, VC_ERR_FORMAT, "array without its prefix");
    unsigned w = data[0] & 3u;
    a.ndim = data[0] >> 2;
    size_t prefix = 1 + ((size_t)a.ndim << w);
    if (a.ndim == 0)
        return vc_fail(err, VC_ERR_FORMAT, "array of no axes");
    if (prefix > n)
        return vc_fail(err, VC_ERR_FORMAT, "array prefix of %zu bytes in a field of %zu", prefix, n);
    a.count = 1;
    for (int d = 0; d < a.ndim; d++) {
        uint64_t dim = read_dim(data + 1 + ((size_t)d << w), w);
        if (d < 4)
            a.dims[d] = dim;
        if (dim != 0 && a.count > (uint64_t)n / dim) // more values than bytes: cannot be, and would overflow
            return vc_fail(err, VC_ERR_FORMAT, "array prefix promises more values than its %zu bytes hold", n);
        a.count *= dim;
    }
    if (a.count * item != n - prefix) {
        return vc_fail(err, VC_ERR_FORMAT, "array prefix promises %llu values of %zu bytes, the field has %zu bytes",
                       (unsigned long long)a.count, item, n - prefix);
    }
    a.values = data + prefix;
    *out = a;
    return true;
}

static bool check_field(const MdsColumn *column, const MdsField *field, VcErr *err)
{
    if (column->form.kind == MDS_STR || column->form.kind == MDS_JSON) {
        if (!vc_utf8_valid((const char *)field->data, field->size))
            return vc_fail(err, VC_ERR_FORMAT, "column '%s' is not valid UTF-8", column->name);
    } else if (column->form.kind == MDS_NDARRAY) {
        MdsArray a;
        if (!mds_array_parse(&a, &column->form, field->data, field->size, err))
            return vc_prefix(err, "column '%s'", column->name);
    }
    return true;
}

bool mds_record_parse(const MdsSchema *schema, const uint8_t *data, size_t n, MdsField *fields, VcErr *err)
{
    size_t at = 4 * schema->variable, size_at = 0;
    if (at > n)
        return vc_fail(err, VC_ERR_FORMAT, "%zu bytes are too few for the lengths of %zu columns", n, schema->variable);
    for (size_t i = 0; i < schema->count; i++) {
        const MdsColumn *column = &schema->columns[i];
        uint64_t size = column->form.size;
        if (size == 0) {
            uint32_t length;
            memcpy(&length, data + size_at, 4);
            size_at += 4;
            size = length;
        }
        if (size > n - at) {
            return vc_fail(err, VC_ERR_FORMAT, "column '%s' has %llu bytes, the record only %zu more", column->name,
                           (unsigned long long)size, n - at);
        }
        fields[i] = (MdsField){data + at, (size_t)size};
        at += (size_t)size;
        if (!check_field(column, &fields[i], err))
            return false;
    }
    if (at != n)
        return vc_fail(err, VC_ERR_FORMAT, "%zu bytes are left after the last column", n - at);
    return true;
}

bool mds_record_put(VcStr *out, const MdsSchema *schema, const MdsField *fields, VcErr *err)
{
    uint64_t total = 4 * (uint64_t)schema->variable;
    for (size_t i = 0; i < schema->count; i++) {
        const MdsColumn *column = &schema->columns[i];
        if (column->form.size != 0 && fields[i].size != column->form.size) {
            return vc_fail(err, VC_ERR_FORMAT, "column '%s' has %zu bytes instead of %llu", column->name,
                           fields[i].size, (unsigned long long)column->form.size);
        }
        if (!check_field(column, &fields[i], err))
            return false;
        total += fields[i].size;
        if (total > UINT32_MAX)
            return vc_fail(err, VC_ERR_LIMIT, "a record over 4 GiB");
    }
    if (total == 0)
        return vc_fail(err, VC_ERR_FORMAT, "a record of no bytes");
    for (size_t i = 0; i < schema->count; i++) {
        if (schema->columns[i].form.size == 0) {
            uint32_t length = (uint32_t)fields[i].size;
            vc_str_putn(out, &length, 4);
        }
    }
    for (size_t i = 0; i < schema->count; i++)
        vc_str_putn(out, fields[i].data, fields[i].size);
    return true;
}

void mds_put_array(VcStr *out, MdsType type, const void *values, size_t count)
{
    unsigned w = count < 1u << 8 ? 0 : count < 1u << 16 ? 1 : count <= UINT32_MAX ? 2 : 3;
    uint64_t dim = count;
    vc_str_putc(out, (char)(1u << 2 | w));
    vc_str_putn(out, &dim, (size_t)1 << w);
    vc_str_putn(out, values, count * types[type].size);
}
