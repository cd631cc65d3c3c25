// SPDX-License-Identifier: MIT
#include "demo/truth.h"

#include "base/json.h"
#include "base/mem.h"

#include <string.h>

static size_t find_or_add_class(DemoTruth *t, const char *name)
{
    for (size_t i = 0; i < t->class_count; i++) {
        if (strcmp(t->classes[i], name) == 0)
            return i;
    }
    if (t->class_count == DEMO_MAX_CLASSES)
        return DEMO_MAX_CLASSES;
    t->classes[t->class_count] = vc_strdup(name);
    return t->class_count++;
}

static int compare_words(const void *a, const void *b)
{
    return strcmp(((const DemoTrueWord *)a)->word, ((const DemoTrueWord *)b)->word);
}

static int compare_images(const void *a, const void *b)
{
    return strcmp(((const DemoTrueImage *)a)->image, ((const DemoTrueImage *)b)->image);
}

// Words are kept sorted by insertion: a class adds a handful, once.
static bool add_word(DemoTruth *t, const char *word, size_t cls, VcErr *err)
{
    size_t low = 0, high = t->word_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strcmp(t->words[middle].word, word) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < t->word_count && strcmp(t->words[low].word, word) == 0) {
        if (t->words[low].cls == cls)
            return true;
        return vc_fail(err, VC_ERR_FORMAT, "the word '%s' belongs to '%s' and to '%s'", word,
                       t->classes[t->words[low].cls], t->classes[cls]);
    }
    t->words = vc_grow(t->words, &t->word_cap, t->word_count + 1, sizeof(*t->words));
    memmove(t->words + low + 1, t->words + low, (t->word_count - low) * sizeof(*t->words));
    t->words[low] = (DemoTrueWord){vc_strdup(word), cls};
    t->word_count++;
    return true;
}

static bool add_object(DemoTruth *t, DemoTrueImage *image, const VcJson *json, double side, VcErr *err)
{
    const char *shape, *texture;
    double visible;
    if (!vc_json_get_string(json, "shape", &shape, "an object", err) ||
        !vc_json_get_string(json, "texture", &texture, "an object", err) ||
        !vc_json_get_number(json, "visible", &visible, "an object", err))
        return false;
    const VcJson *words = vc_json_member(json, "words"), *box = vc_json_member(json, "box");
    if (vc_json_length(words) == 0 || vc_json_length(box) != 4)
        return vc_fail(err, VC_ERR_FORMAT, "'%s' needs \"words\", a list, and \"box\", four numbers", shape);
    if (image->object_count == DEMO_MAX_TRUE)
        return vc_fail(err, VC_ERR_LIMIT, "more than %d objects in one image", DEMO_MAX_TRUE);
    size_t cls = find_or_add_class(t, shape), seen = 0;
    if (cls == DEMO_MAX_CLASSES)
        return vc_fail(err, VC_ERR_LIMIT, "more than %d kinds of object", DEMO_MAX_CLASSES);
    for (size_t i = 0; i < vc_json_length(words); i++) {
        const char *word = vc_json_string(vc_json_item(words, i), NULL);
        if (!word)
            return vc_fail(err, VC_ERR_FORMAT, "a word of '%s' is not a string", shape);
        if (!add_word(t, word, cls, err))
            return false;
    }
    double w = vc_json_number(vc_json_item(box, 2), 0), h = vc_json_number(vc_json_item(box, 3), 0);
    image->objects[image->object_count++] =
        (DemoTrueObject){cls, w * h / (side * side), visible, strcmp(texture, "plain") == 0,
                         vc_json_bool(vc_json_member(json, "mentioned"), false)};
    while (seen < image->class_count && image->classes[seen] != cls)
        seen++;
    if (seen == image->class_count) {
        image->classes[image->class_count++] = cls;
        t->pictures[cls]++;
    }
    return true;
}

static bool add_image(DemoTruth *t, const VcJson *json, VcErr *err)
{
    const char *name;
    double side;
    if (!vc_json_get_string(json, "image", &name, "the line", err) ||
        !vc_json_get_number(json, "side", &side, "the line", err))
        return false;
    const VcJson *objects = vc_json_member(json, "objects");
    if (side <= 0 || vc_json_length(objects) == 0)
        return vc_fail(err, VC_ERR_FORMAT, "'%s' needs \"side\" > 0 and \"objects\"", name);
    t->images = vc_grow(t->images, &t->image_cap, t->image_count + 1, sizeof(*t->images));
    DemoTrueImage *image = &t->images[t->image_count++];
    memset(image, 0, sizeof(*image));
    image->image = vc_strdup(name);
    for (size_t i = 0; i < vc_json_length(objects); i++) {
        if (!add_object(t, image, vc_json_item(objects, i), side, err))
            return false;
    }
    return true;
}

bool demo_truth_read(DemoTruth *truth, const char *path, VcErr *err)
{
    VcJsonStream *stream = NULL;
    VcJson *item = NULL;
    size_t line = 0;
    bool ok = false;
    memset(truth, 0, sizeof(*truth));
    if (!vc_json_stream_open(&stream, path, VC_JSON_LINES, NULL, err))
        return false;
    do {
        if (!vc_json_stream_next(stream, &item, &line, err))
            goto out;
        if (item && !add_image(truth, item, err)) {
            vc_prefix(err, "'%s', line %zu", path, line);
            goto out;
        }
        ok = item == NULL;
        vc_json_destroy(&item);
    } while (!ok);
    if (truth->image_count == 0) {
        ok = vc_fail(err, VC_ERR_FORMAT, "'%s' holds no images", path);
        goto out;
    }
    qsort(truth->images, truth->image_count, sizeof(*truth->images), compare_images);
    for (size_t i = 1; ok && i < truth->image_count; i++) {
        if (compare_images(&truth->images[i - 1], &truth->images[i]) == 0)
            ok = vc_fail(err, VC_ERR_FORMAT, "'%s' lists '%s' twice", path, truth->images[i].image);
    }
out:
    vc_json_destroy(&item);
    vc_json_stream_close(&stream);
    if (!ok)
        demo_truth_finish(truth);
    return ok;
}

void demo_truth_finish(DemoTruth *truth)
{
    for (size_t i = 0; i < truth->class_count; i++)
        free(truth->classes[i]);
    for (size_t i = 0; i < truth->word_count; i++)
        free(truth->words[i].word);
    for (size_t i = 0; i < truth->image_count; i++)
        free(truth->images[i].image);
    free(truth->words);
    free(truth->images);
    memset(truth, 0, sizeof(*truth));
}

const DemoTrueImage *demo_truth_find(const DemoTruth *truth, const char *key)
{
    for (const char *p = key; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL) {
        char *name = vc_strdup(p);
        DemoTrueImage wanted = {.image = name};
        const DemoTrueImage *found =
            bsearch(&wanted, truth->images, truth->image_count, sizeof(*truth->images), compare_images);
        free(name);
        if (found)
            return found;
    }
    return NULL;
}

static size_t class_of(const DemoTruth *truth, const char *text)
{
    char *word = vc_strdup(text);
    DemoTrueWord wanted = {.word = word};
    const DemoTrueWord *found =
        truth->word_count > 0 ? bsearch(&wanted, truth->words, truth->word_count, sizeof(*truth->words), compare_words)
                              : NULL;
    free(word);
    return found ? found->cls : DEMO_MAX_CLASSES;
}

size_t demo_truth_fold(const DemoTruth *truth, const char *concept)
{
    size_t cls = class_of(truth, concept);
    const char *space = strrchr(concept, ' ');
    return cls == DEMO_MAX_CLASSES && space ? class_of(truth, space + 1) : cls;
}
