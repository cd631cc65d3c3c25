// SPDX-License-Identifier: MIT
#include "index/record.h"

#include <string.h>

static bool wrong_encoding(const MdsSchema *s, int column, const char *expected, VcErr *err)
{
    return vc_fail(err, VC_ERR_FORMAT, "column '%s' has encoding '%s', expected %s", s->columns[column].name,
                   s->columns[column].encoding, expected);
}

static bool find_array(int *out, const MdsSchema *s, const char *name, MdsType type, const char *expected, VcErr *err)
{
    *out = mds_schema_find(s, name);
    if (*out < 0)
        return true;
    const MdsEncoding *form = &s->columns[*out].form;
    return (form->kind == MDS_NDARRAY && form->type == type) || wrong_encoding(s, *out, expected, err);
}

static bool find_text(int *out, const MdsSchema *s, const char *name, VcErr *err)
{
    *out = mds_schema_find(s, name);
    if (*out < 0)
        return true;
    MdsKind kind = s->columns[*out].form.kind;
    return kind == MDS_STR || kind == MDS_JSON || wrong_encoding(s, *out, "str or json", err);
}

static bool find_image(RecordColumns *c, const MdsSchema *s, VcErr *err)
{
    c->image = mds_schema_find(s, "image");
    c->image_z = mds_schema_find(s, "image_z");
    if (c->image < 0 && c->image_z < 0)
        return vc_fail(err, VC_ERR_FORMAT, "no column 'image' or 'image_z'");
    if (c->image_z >= 0 && s->columns[c->image_z].form.kind != MDS_BYTES)
        return wrong_encoding(s, c->image_z, "bytes", err);
    if (c->image < 0)
        return true;
    const MdsEncoding *form = &s->columns[c->image].form;
    bool encoded = form->kind == MDS_JPEG || form->kind == MDS_PNG || form->kind == MDS_BYTES;
    bool pixels = form->kind == MDS_NDARRAY && form->type == MDS_U8 && (form->ndim == 0 || form->ndim == 3);
    return encoded || pixels || wrong_encoding(s, c->image, "jpeg, png, bytes or ndarray:uint8 with three axes", err);
}

bool record_columns_find(RecordColumns *out, const MdsSchema *s, VcErr *err)
{
    RecordColumns c;
    c.image_id = mds_schema_find(s, "image_id");
    if (c.image_id < 0)
        return vc_fail(err, VC_ERR_FORMAT, "no column 'image_id'");
    const MdsEncoding *id = &s->columns[c.image_id].form;
    if (id->size != 8 || id->type != MDS_I64 || id->kind == MDS_NDARRAY)
        return wrong_encoding(s, c.image_id, "int", err);
    if (!find_image(&c, s, err) || !find_text(&c.caption, s, "caption", err) ||
        !find_text(&c.captions, s, "captions", err) || !find_text(&c.concepts, s, "concepts", err))
        return false;
    static const char ints[] = "ndarray:int32";
    if (!find_array(&c.caption_ids, s, "caption_ids", MDS_I32, ints, err) ||
        !find_array(&c.caption_lens, s, "caption_lens", MDS_I32, ints, err) ||
        !find_array(&c.concept_ids, s, "concept_ids", MDS_I32, ints, err) ||
        !find_array(&c.concept_scores, s, "concept_scores", MDS_F32, "ndarray:float32", err) ||
        !find_array(&c.concept_tokens, s, "concept_tokens", MDS_I32, ints, err) ||
        !find_array(&c.concept_lens, s, "concept_lens", MDS_I32, ints, err) ||
        !find_array(&c.image_size, s, "image_size", MDS_I32, "ndarray:int32:2", err))
        return false;
    *out = c;
    return true;
}

// The prefix was checked by mds_record_parse: only its length is needed here.
static IndexInts get_ints(const MdsSchema *s, int column, const MdsField *fields)
{
    if (column < 0)
        return (IndexInts){NULL, 0};
    const MdsField *f = &fields[column];
    size_t prefix = s->columns[column].form.size != 0 ? 0 : 1 + ((size_t)(f->data[0] >> 2) << (f->data[0] & 3));
    return (IndexInts){f->data + prefix, (f->size - prefix) / 4};
}

static IndexText get_text(int column, const MdsField *fields)
{
    if (column < 0)
        return (IndexText){NULL, 0};
    return (IndexText){(const char *)fields[column].data, fields[column].size};
}

static bool check_ids(IndexInts ids, int32_t limit, const char *column, VcErr *err)
{
    uint32_t top = limit > 0 ? (uint32_t)limit : (uint32_t)INT32_MAX + 1;
    uint32_t bad = 0;
    for (size_t i = 0; i < ids.count; i++) // negative ids are large as unsigned ones
        bad |= (uint32_t)((uint32_t)index_int_at(ids, i) >= top);
    if (bad == 0)
        return true;
    for (size_t i = 0; i < ids.count; i++) {
        if ((uint32_t)index_int_at(ids, i) >= top) {
            return vc_fail(err, VC_ERR_FORMAT, "column '%s': id %d is negative or at or over %u", column,
                           (int)index_int_at(ids, i), top);
        }
    }
    return true;
}

static bool check_lens(IndexInts lens, IndexInts ids, const char *column, VcErr *err)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < lens.count; i++) {
        if (index_int_at(lens, i) < 0)
            return vc_fail(err, VC_ERR_FORMAT, "column '%s': length %d", column, (int)index_int_at(lens, i));
        sum += (uint64_t)index_int_at(lens, i);
    }
    if (ids.data != NULL && sum != ids.count) {
        return vc_fail(err, VC_ERR_FORMAT, "column '%s' sums to %llu, there are %zu tokens", column,
                       (unsigned long long)sum, ids.count);
    }
    return true;
}

static bool check_scores(const IndexRecord *r, VcErr *err)
{
    for (size_t i = 1; i < r->concept_scores.count; i++) {
        float before = index_float_at(r->concept_scores, i - 1), after = index_float_at(r->concept_scores, i);
        if (!(before >= after)) // also when one is not a number
            return vc_fail(err, VC_ERR_FORMAT, "column 'concept_scores' is not descending at %zu", i);
    }
    return true;
}

static bool check_counts(const IndexRecord *r, VcErr *err)
{
    size_t concepts = r->concept_ids.count;
    if (r->concept_ids.data != NULL && r->concept_scores.data != NULL && r->concept_scores.count != concepts) {
        return vc_fail(err, VC_ERR_FORMAT, "column 'concept_scores' has %zu values for %zu concepts",
                       r->concept_scores.count, concepts);
    }
    if (r->concept_ids.data != NULL && r->concept_lens.data != NULL && r->concept_lens.count != concepts) {
        return vc_fail(err, VC_ERR_FORMAT, "column 'concept_lens' has %zu values for %zu concepts",
                       r->concept_lens.count, concepts);
    }
    return true;
}

static bool get_image(const MdsSchema *s, const RecordColumns *c, const MdsField *fields, IndexRecord *r, VcErr *err)
{
    int column = c->image >= 0 ? c->image : c->image_z;
    r->image = fields[column].data;
    r->image_bytes = fields[column].size;
    r->width = r->height = r->channels = 0;
    r->image_form = c->image >= 0 ? INDEX_IMAGE_ENCODED : INDEX_IMAGE_Z;
    if (c->image < 0 || s->columns[column].form.kind != MDS_NDARRAY)
        return true;
    MdsArray a;
    if (!mds_array_parse(&a, &s->columns[column].form, fields[column].data, fields[column].size, err))
        return false;
    if (a.ndim != 3 || a.dims[0] > INT32_MAX || a.dims[1] > INT32_MAX || a.dims[2] > UINT8_MAX)
        return vc_fail(err, VC_ERR_FORMAT, "column 'image' is not height x width x channels");
    r->image_form = INDEX_IMAGE_PIXELS;
    r->image = a.values;
    r->image_bytes = a.count;
    r->height = (uint32_t)a.dims[0];
    r->width = (uint32_t)a.dims[1];
    r->channels = (uint32_t)a.dims[2];
    return true;
}

bool record_decode(const MdsSchema *s, const RecordColumns *c, const uint8_t *data, size_t n, int32_t vocabulary,
                   IndexRecord *out, VcErr *err)
{
    MdsField fields[MDS_MAX_COLUMNS];
    if (!mds_record_parse(s, data, n, fields, err))
        return false;
    IndexRecord r;
    memcpy(&r.image_id, fields[c->image_id].data, 8);
    if (!get_image(s, c, fields, &r, err))
        return false;
    IndexInts size = get_ints(s, c->image_size, fields), scores = get_ints(s, c->concept_scores, fields);
    if (size.data != NULL && size.count != 2)
        return vc_fail(err, VC_ERR_FORMAT, "column 'image_size' has %zu values instead of 2", size.count);
    r.source_width = size.data != NULL ? index_int_at(size, 0) : 0;
    r.source_height = size.data != NULL ? index_int_at(size, 1) : 0;
    r.caption = get_text(c->caption, fields);
    r.captions = get_text(c->captions, fields);
    r.concepts = get_text(c->concepts, fields);
    r.caption_ids = get_ints(s, c->caption_ids, fields);
    r.caption_lens = get_ints(s, c->caption_lens, fields);
    r.concept_ids = get_ints(s, c->concept_ids, fields);
    r.concept_scores = (IndexFloats){scores.data, scores.count};
    r.concept_tokens = get_ints(s, c->concept_tokens, fields);
    r.concept_lens = get_ints(s, c->concept_lens, fields);
    if (!check_lens(r.caption_lens, r.caption_ids, "caption_lens", err) ||
        !check_lens(r.concept_lens, r.concept_tokens, "concept_lens", err) || !check_counts(&r, err) ||
        !check_scores(&r, err) || !check_ids(r.caption_ids, vocabulary, "caption_ids", err) ||
        !check_ids(r.concept_tokens, vocabulary, "concept_tokens", err) ||
        !check_ids(r.concept_ids, 0, "concept_ids", err))
        return false;
    *out = r;
    return true;
}
