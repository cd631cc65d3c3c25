// SPDX-License-Identifier: MIT
// Annotations of tasks as ALBEF and ViCHA keep them, one JSON object each: which shape an object has, which of its
// members name images and text, and the rest, kept as it is so that `vicha export vicha-json` can write it back.
#include "extract/source_impl.h"

#include <string.h>

static bool is_text(const VcJson *value)
{
    size_t n;
    return vc_json_string(value, &n) && n > 0;
}

static void put_key(EntryBuilder *b, const VcJson *value)
{
    size_t n;
    const char *text = vc_json_string(value, &n);
    if (text && n)
        entry_key(b, text, n);
}

static void put_caption(EntryBuilder *b, const VcJson *value)
{
    size_t n;
    const char *text = vc_json_string(value, &n);
    if (text)
        entry_caption(b, text, n);
}

static bool among(const char *key, const char *const *names)
{
    for (; *names; names++) {
        if (strcmp(key, *names) == 0)
            return true;
    }
    return false;
}

// The members of `item` that are among `names` (or, with `others`, that are not) as a JSON object.
static void put_fields(VcStr *out, const VcJson *item, const char *const *names, bool others)
{
    void *iter = NULL;
    const char *key;
    VcJson *value;
    vc_str_clear(out);
    while (vc_json_next_member(item, &iter, &key, &value)) {
        if (among(key, names) == others)
            continue;
        vc_str_put(out, out->len ? ", " : "{");
        vc_str_put_json(out, key, strlen(key), false);
        vc_str_put(out, ": ");
        vc_json_put(out, value);
    }
    if (out->len)
        vc_str_putc(out, '}');
}

// kwords: only a list of strings is one.
static void put_concepts(VcStr *out, const VcJson *list)
{
    vc_str_clear(out);
    if (!vc_json_is_array(list))
        return;
    for (size_t i = 0; i < vc_json_length(list); i++) {
        if (!vc_json_is_string(vc_json_item(list, i)))
            return;
    }
    vc_json_put(out, list);
}

// --- shapes

static bool use_nlvr(EntryBuilder *b, const VcJson *item)
{
    static const char *const used[] = {"images", "sentence", "kwords1", "kwords2", NULL};
    const VcJson *images = vc_json_member(item, "images");
    size_t n;
    const char *right = vc_json_string(vc_json_item(images, 1), &n);
    if (vc_json_length(images) != 2 || !is_text(vc_json_item(images, 0)) || !right || !n ||
        !is_text(vc_json_member(item, "sentence")))
        return false;
    b->shape = "nlvr";
    b->kind = "sentence";
    put_key(b, vc_json_item(images, 0));
    entry_second(b, right, n);
    put_caption(b, vc_json_member(item, "sentence"));
    put_concepts(&b->concepts, vc_json_member(item, "kwords1"));
    put_concepts(&b->second_concepts, vc_json_member(item, "kwords2"));
    put_fields(&b->fields, item, used, true);
    return true;
}

static void use_single(EntryBuilder *b, const VcJson *item, const char *text)
{
    const char *const used[] = {"image", "kwords", text, NULL};
    put_key(b, vc_json_member(item, "image"));
    put_caption(b, vc_json_member(item, text));
    put_concepts(&b->concepts, vc_json_member(item, "kwords"));
    put_fields(&b->fields, item, used, true);
}

static bool is_entailment(const VcJson *item)
{
    static const char *const labels[] = {"entailment", "neutral", "contradiction", NULL};
    const char *label = vc_json_string(vc_json_member(item, "label"), NULL);
    return label && among(label, labels) && is_text(vc_json_member(item, "sentence"));
}

bool source_task_item(ExtractSource *s, const VcJson *item)
{
    EntryBuilder *b = &s->entry;
    if (vc_json_is_array(vc_json_member(item, "images")))
        return use_nlvr(b, item);
    if (!is_text(vc_json_member(item, "image")))
        return false;
    if (is_text(vc_json_member(item, "question"))) {
        b->shape = "vqa";
        b->kind = "question";
        use_single(b, item, "question");
        return true;
    }
    if (is_entailment(item)) {
        b->shape = "entailment";
        b->kind = "hypothesis";
        use_single(b, item, "sentence");
        if (!source_is_image_name(b->key.data)) // SNLI-VE names images without the ending
            vc_str_put(&b->key, ".jpg");
        return true;
    }
    if (is_text(vc_json_member(item, "text")) && vc_json_member(item, "ref_id")) {
        b->shape = "grounding";
        b->kind = "expression";
        use_single(b, item, "text");
        return true;
    }
    return false;
}

void source_caption_notes(ExtractSource *s, const VcJson *item, const VcJson *captions)
{
    static const char *const kept[] = {"image_id", "title", "sim", NULL};
    EntryBuilder *b = &s->entry;
    put_fields(&b->fields, item, kept, false);
    put_concepts(&b->concepts, vc_json_member(item, "kwords"));
    if (vc_json_is_array(captions)) {
        b->shape = "captions";
    } else if (b->fields.len) {
        b->shape = "caption";
    }
}

void source_image_number(ExtractSource *s, const VcJson *number)
{
    EntryBuilder *b = &s->entry;
    if (!vc_json_is_number(number))
        return;
    vc_str_clear(&b->fields);
    vc_str_put(&b->fields, "{\"image_id\": ");
    vc_json_put(&b->fields, number);
    vc_str_putc(&b->fields, '}');
    b->shape = "caption";
}
