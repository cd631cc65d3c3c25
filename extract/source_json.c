// SPDX-License-Identifier: MIT
// JSON sources, one element in memory at a time: a list or lines of {image, caption} (ALBEF, ViCHA, LAION), pairs
// [image, caption] (SBU), COCO captions, Karpathy splits and Visual Genome region descriptions.
#include "base/input.h"
#include "base/json.h"
#include "base/mem.h"
#include "extract/source_impl.h"

#include <strings.h>

typedef enum { KIND_LIST, KIND_KARPATHY, KIND_VG, KIND_COCO } Kind;

typedef struct {
    int64_t id;
    size_t name; // offset into Coco.names
} CocoImage;

typedef struct {
    VcJsonStream *stream;
    VcJson *ahead;       // the first element, read to find out the kind, not yet used
    bool looked, broken; // there is such an element, and it is not JSON
    VcErr broken_why;
    size_t ahead_line, repaired_before;
    const char *unit; // "line" or "item"
    Kind kind;
    bool ended;
    // COCO: first the images, then the annotations, which name them by number
    bool annotations;
    CocoImage *images;
    size_t image_count, images_cap;
    VcStr names;
} Json;

// --- captions of all shapes

static void add_captions(EntryBuilder *b, const VcJson *value)
{
    size_t n;
    const char *text = vc_json_string(value, &n);
    if (text)
        entry_caption(b, text, n);
    for (size_t i = 0; vc_json_is_array(value) && i < vc_json_length(value); i++) {
        const VcJson *item = vc_json_item(value, i);
        if (vc_json_is_object(item)) {
            const VcJson *raw = vc_json_member(item, "raw");
            if (!raw)
                raw = vc_json_member(item, "phrase");
            if (!raw)
                raw = vc_json_member(item, "caption");
            text = vc_json_string(raw, &n);
        } else {
            text = vc_json_string(item, &n);
        }
        if (text)
            entry_caption(b, text, n);
    }
}

// --- a list of objects

static const VcJson *named_member(const VcJson *item, const char *wanted, ColumnRole role)
{
    if (wanted)
        return vc_json_member(item, wanted);
    const VcJson *best = NULL;
    unsigned best_rank = ~0u, rank;
    void *iter = NULL;
    const char *key;
    VcJson *value;
    while (vc_json_next_member(item, &iter, &key, &value)) {
        const bool usable =
            role == ROLE_CAPTION ? vc_json_is_string(value) || vc_json_is_array(value) : vc_json_is_string(value);
        if (usable && source_role(key, &rank) == role && rank < best_rank) {
            best = value;
            best_rank = rank;
        }
    }
    return best;
}

static bool use_key(EntryBuilder *b, const VcJson *value)
{
    size_t n;
    const char *text = vc_json_string(value, &n);
    if (text && n)
        entry_key(b, text, n);
    return text && n;
}

static void image_key(const ExtractSourceOptions *o, EntryBuilder *b, const VcJson *item)
{
    const bool image = o->image_col || !o->url_col, url = o->url_col || !o->image_col;
    if (image && use_key(b, named_member(item, o->image_col, ROLE_IMAGE)))
        return;
    if (url)
        use_key(b, named_member(item, o->url_col, ROLE_URL));
}

// The members that are neither the image's name nor its captions.
static void add_columns(ExtractSource *s, const VcJson *item, const VcJson *captions, const char *const *others)
{
    void *iter = NULL;
    const char *name;
    VcJson *value;
    while (vc_json_next_member(item, &iter, &name, &value)) {
        size_t n;
        const char *text = vc_json_string(value, &n);
        bool used = value == captions || (text && n == s->entry.key.len && memcmp(text, s->entry.key.data, n) == 0);
        for (size_t i = 0; others && others[i]; i++)
            used = used || strcmp(name, others[i]) == 0;
        if (!used)
            entry_column_json(&s->entry, &s->options, name, value);
    }
}

static void use_list_item(ExtractSource *s, const Json *j, const VcJson *item)
{
    EntryBuilder *b = &s->entry;
    if (vc_json_is_array(item) && vc_json_is_string(vc_json_item(item, 0))) { // [image, caption]
        use_key(b, vc_json_item(item, 0));
        add_captions(b, vc_json_item(item, 1));
        return;
    }
    if (!vc_json_is_object(item)) {
        entry_problem(b, "%s %zu is no JSON object", j->unit, b->number);
        return;
    }
    const ExtractSourceOptions *o = &s->options;
    if (!o->image_col && !o->url_col && !o->caption_col && source_task_item(s, item))
        return;
    image_key(&s->options, b, item);
    if (b->key.len == 0) {
        entry_problem(b, "%s %zu names no image: it has no text member '%s'", j->unit, b->number,
                      s->options.image_col ? s->options.image_col
                      : s->options.url_col ? s->options.url_col
                                           : "image");
    }
    const VcJson *captions = named_member(item, s->options.caption_col, ROLE_CAPTION);
    add_captions(b, captions);
    source_caption_notes(s, item, captions);
    static const char *const noted[] = {"kwords", NULL};
    add_columns(s, item, captions, noted);
}

static void use_karpathy_item(ExtractSource *s, const VcJson *item)
{
    EntryBuilder *b = &s->entry;
    if (s->options.url_col) {
        use_key(b, vc_json_member(item, s->options.url_col));
    } else {
        size_t n, m;
        const char *folder = vc_json_string(vc_json_member(item, "filepath"), &n);
        const char *name = vc_json_string(vc_json_member(item, "filename"), &m);
        VcStr key = {0};
        if (folder && n && name)
            vc_str_putf(&key, "%s/", folder);
        if (name)
            vc_str_put(&key, name);
        entry_key(b, vc_str_get(&key), key.len);
        vc_str_finish(&key);
    }
    const char *split = vc_json_string(vc_json_member(item, "split"), NULL);
    if (split)
        vc_str_put(&b->split, split);
    add_captions(b, vc_json_member(item, "sentences"));
    source_image_number(s, vc_json_member(item, "cocoid"));
    static const char *const others[] = {"sentences", "sentids", "filename", "filepath", "split", NULL};
    add_columns(s, item, NULL, others);
}

static void use_vg_item(ExtractSource *s, const VcJson *item)
{
    EntryBuilder *b = &s->entry;
    int64_t id = vc_json_int(vc_json_member(item, "id"), -1);
    const VcJson *regions = vc_json_member(item, "regions");
    if (id < 0)
        id = vc_json_int(vc_json_member(item, "image_id"), -1);
    if (id < 0)
        id = vc_json_int(vc_json_member(vc_json_item(regions, 0), "image_id"), -1);
    char name[32];
    const int n = snprintf(name, sizeof name, "%lld.jpg", (long long)id);
    if (id >= 0)
        entry_key(b, name, (size_t)n);
    add_captions(b, regions);
    add_columns(s, item, regions, NULL);
}

// --- COCO

static int by_id(const void *a, const void *b)
{
    const CocoImage *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void use_coco_image(ExtractSource *s, Json *j, const VcJson *item)
{
    EntryBuilder *b = &s->entry;
    image_key(&s->options, b, item);
    add_columns(s, item, NULL, NULL);
    const VcJson *id = vc_json_member(item, "id");
    if (b->key.len == 0 || !vc_json_is_number(id))
        return;
    j->images = vc_grow(j->images, &j->images_cap, j->image_count + 1, sizeof *j->images);
    j->images[j->image_count++] = (CocoImage){vc_json_int(id, -1), j->names.len};
    vc_str_putn(&j->names, b->key.data, b->key.len + 1);
}

static void use_coco_annotation(ExtractSource *s, const Json *j, const VcJson *item)
{
    EntryBuilder *b = &s->entry;
    const CocoImage wanted = {.id = vc_json_int(vc_json_member(item, "image_id"), -1)};
    const CocoImage *found = j->image_count ? bsearch(&wanted, j->images, j->image_count, sizeof wanted, by_id) : NULL;
    if (!found) {
        entry_problem(b, "annotation %zu names image %lld, which the file does not list", b->number,
                      (long long)wanted.id);
        return;
    }
    const char *name = j->names.data + found->name;
    entry_key(b, name, strlen(name));
    add_captions(b, vc_json_member(item, "caption"));
    source_image_number(s, vc_json_member(item, "image_id"));
}

static bool coco_to_annotations(ExtractSource *s, Json *j, VcErr *err)
{
    j->annotations = true;
    j->unit = "annotation";
    if (j->image_count)
        qsort(j->images, j->image_count, sizeof *j->images, by_id);
    vc_json_stream_close(&j->stream);
    return vc_json_stream_open(&j->stream, s->path, VC_JSON_ARRAY, "annotations", err);
}

// --- the stream

static void use_item(ExtractSource *s, Json *j, const VcJson *item)
{
    switch (j->kind) {
    case KIND_LIST:
        use_list_item(s, j, item);
        break;
    case KIND_KARPATHY:
        use_karpathy_item(s, item);
        break;
    case KIND_VG:
        use_vg_item(s, item);
        break;
    case KIND_COCO:
        if (j->annotations) {
            use_coco_annotation(s, j, item);
        } else {
            use_coco_image(s, j, item);
        }
    }
}

// The next element, or *item NULL with `problem` in *why for one that is broken. *more false at the end.
static bool take_item(ExtractSource *s, Json *j, VcJson **item, size_t *number, VcErr *why, bool *more, VcErr *err)
{
    *more = true;
    *item = NULL;
    if (j->looked) {
        *item = j->ahead;
        *number = j->ahead_line;
        *why = j->broken_why;
        j->ahead = NULL;
        j->looked = false;
        return true;
    }
    for (;;) {
        if (j->ended) {
            *more = false;
            return true;
        }
        if (!vc_json_stream_next(j->stream, item, number, why)) {
            j->ended = vc_json_stream_ended(j->stream);
            return why->code == VC_ERR_IO ? vc_fail(err, VC_ERR_IO, "%s", why->text) : true;
        }
        if (*item)
            return true;
        if (j->kind == KIND_COCO && !j->annotations) {
            if (!coco_to_annotations(s, j, err))
                return false;
            continue;
        }
        j->ended = true;
    }
}

static bool json_next(ExtractSource *s, ExtractEntry *entry, bool *more, VcErr *err)
{
    Json *j = s->reader;
    VcJson *item;
    VcErr why = {0};
    size_t number = 0;
    if (!take_item(s, j, &item, &number, &why, more, err))
        return false;
    if (!*more)
        return true;
    entry_begin(&s->entry, number);
    if (item) {
        use_item(s, j, item);
    } else {
        entry_problem(&s->entry, "%s%s", why.text, j->ended ? "; nothing after it can be read" : "");
    }
    vc_json_destroy(&item);
    const size_t repaired = vc_json_stream_repaired(j->stream);
    if (repaired != j->repaired_before && s->entry.count)
        s->entry.repaired = 1;
    j->repaired_before = repaired;
    entry_end(&s->entry, j->unit, entry);
    return true;
}

static void json_close(void *reader)
{
    Json *j = reader;
    vc_json_stream_close(&j->stream);
    vc_json_destroy(&j->ahead);
    free(j->images);
    vc_str_finish(&j->names);
    free(j);
}

static int first_character(FILE *f)
{
    int c = getc(f);
    if (c == 0xEF) { // byte order mark
        getc(f);
        getc(f);
        c = getc(f);
    }
    while (c == ' ' || c == '\t' || c == '\r' || c == '\n')
        c = getc(f);
    return c;
}

// A broken first element is left to json_next, which makes a row of it.
static void look_ahead(Json *j)
{
    j->broken = !vc_json_stream_next(j->stream, &j->ahead, &j->ahead_line, &j->broken_why);
    j->looked = j->broken || j->ahead;
}

static bool open_object(ExtractSource *s, Json *j, VcErr *err)
{
    VcErr why = {0};
    if (!vc_json_stream_open(&j->stream, s->path, VC_JSON_ARRAY, "images", &why)) {
        // {"image": ...} a line, in a file that is named .json all the same
        j->unit = "line";
        if (vc_json_stream_open(&j->stream, s->path, VC_JSON_LINES, NULL, err)) {
            look_ahead(j);
            if (j->ahead && (named_member(j->ahead, s->options.image_col, ROLE_IMAGE) ||
                             named_member(j->ahead, s->options.url_col, ROLE_URL)))
                return true;
        }
        return vc_fail(
            err, VC_ERR_FORMAT,
            "'%s' is no source: it holds a JSON object that is neither COCO captions nor a Karpathy split (%s)",
            s->path, why.text);
    }
    look_ahead(j);
    j->kind = vc_json_member(j->ahead, "sentences") ? KIND_KARPATHY : KIND_COCO;
    if (j->kind == KIND_COCO) {
        VcJsonStream *probe;
        if (!vc_json_stream_open(&probe, s->path, VC_JSON_ARRAY, "annotations", err))
            return vc_prefix(err, "'%s' has 'images' without 'sentences', so it should be COCO captions", s->path);
        vc_json_stream_close(&probe);
    }
    return true;
}

bool source_open_json(ExtractSource *s, bool lines, VcErr *err)
{
    FILE *f = vc_input_open(s->path, err);
    if (!f)
        return false;
    const int c = first_character(f);
    const bool broken = ferror(f);
    fclose(f);
    if (broken)
        return vc_input_fail(s->path, err);
    Json *j = vc_calloc(1, sizeof *j);
    j->unit = lines ? "line" : "item";
    s->reader = j;
    s->next = json_next;
    s->close = json_close;
    if (c == EOF) {
        j->ended = true; // empty: the listing says so
        return true;
    }
    if (lines)
        return vc_json_stream_open(&j->stream, s->path, VC_JSON_LINES, NULL, err);
    if (c == '{')
        return open_object(s, j, err);
    if (!vc_json_stream_open(&j->stream, s->path, VC_JSON_ARRAY, NULL, err))
        return vc_prefix(err, "'%s' is no JSON list", s->path);
    look_ahead(j);
    if (vc_json_is_object(j->ahead) && vc_json_is_array(vc_json_member(j->ahead, "regions")))
        j->kind = KIND_VG;
    return true;
}
