// SPDX-License-Identifier: MIT
#include "demo/dataset.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/progress.h"
#include "base/str.h"
#include "demo/caption.h"
#include "extract/extract.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static const char *const texture_names[DEMO_TEXTURES] = {"plain", "stripes", "dots", "checks", "gradient", "outline"};
static const char *const background_names[DEMO_BACKGROUNDS] = {"plain", "gradient", "noise", "meadow", "grid"};

typedef struct {
    const DemoSet *set;
    VcStr *captions, *truth; // one a picture: whole lines
    VcProgress *progress;
    pthread_mutex_t lock; // of the two below
    bool failed;
    VcErr err;
} Job;

static void put_string(VcStr *out, const char *text)
{
    vc_str_put_json(out, text, strlen(text), false);
}

static void put_object(VcStr *out, const DemoScene *s, const DemoObject *o)
{
    const DemoGroup *g = &s->groups[o->group];
    const DemoShape *shape = demo_shape(g->shape);
    vc_str_put(out, "{\"shape\": ");
    put_string(out, shape->name);
    vc_str_put(out, ", \"words\": [");
    for (size_t w = 0; w < demo_shape_words(shape); w++) {
        vc_str_put(out, w > 0 ? ", " : "");
        put_string(out, shape->words[w].one);
        vc_str_put(out, ", ");
        put_string(out, shape->words[w].many);
    }
    vc_str_putf(out, "], \"colour\": \"%s\", \"texture\": \"%s\", \"box\": [%d, %d, %d, %d], \"visible\": %.3f, ",
                demo_colour(g->colour)->name, texture_names[g->texture], o->box[0], o->box[1], o->box[2], o->box[3],
                (double)o->visible);
    vc_str_putf(out, "\"mentioned\": %s}", g->mentioned ? "true" : "false");
}

static void put_truth(VcStr *out, const DemoScene *s, const char *name)
{
    vc_str_put(out, "{\"image\": ");
    put_string(out, name);
    vc_str_putf(out, ", \"side\": %d, \"background\": \"%s\", \"noise\": %.2f, \"quality\": %d, \"objects\": [",
                s->side, background_names[s->background], (double)s->noise, s->quality);
    for (size_t i = 0; i < s->object_count; i++) {
        vc_str_put(out, i > 0 ? ", " : "");
        put_object(out, s, &s->objects[i]);
    }
    vc_str_put(out, "]}\n");
}

// Under a temporary name first, so that a kill leaves no half picture. Not synced: captions.jsonl vouches for the set,
// and a set lost with the power is drawn again.
static bool write_picture(const char *path, const uint8_t *bytes, size_t n, VcErr *err)
{
    VcStr tmp = {0};
    vc_str_putf(&tmp, "%s.tmp", path);
    bool ok = false;
    int fd = open(vc_str_get(&tmp), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        vc_fail_errno(err, "cannot create '%s'", vc_str_get(&tmp));
        goto out;
    }
    ok = vc_full_write(fd, bytes, n, vc_str_get(&tmp), err);
    if (close(fd) != 0 && ok)
        ok = vc_fail_errno(err, "cannot write '%s'", vc_str_get(&tmp));
    if (ok && rename(vc_str_get(&tmp), path) != 0)
        ok = vc_fail_errno(err, "cannot rename '%s'", vc_str_get(&tmp));
    if (!ok)
        unlink(vc_str_get(&tmp));
out:
    vc_str_finish(&tmp);
    return ok;
}

static bool draw_one(Job *job, size_t index, uint8_t *pixels, VcErr *err)
{
    const DemoSet *set = job->set;
    VcStr name = {0}, caption = {0};
    DemoScene scene;
    VcRng rng;
    uint8_t *jpeg = NULL;
    size_t n = 0;
    vc_rng_seed(&rng, vc_mix_seed(set->seed, index));
    demo_scene_sample(&scene, &rng, set->side);
    demo_scene_paint(&scene, pixels);
    vc_str_putf(&name, "images/%06zu.jpg", index);
    for (uint64_t lines = 1 + vc_rng_below(&rng, 3); lines > 0; lines--) {
        VcStr *out = &job->captions[index];
        demo_caption(&caption, &scene, &rng);
        vc_str_putf(out, "{\"image\": \"%s\", \"caption\": ", vc_str_get(&name));
        put_string(out, vc_str_get(&caption));
        vc_str_put(out, "}\n");
    }
    put_truth(&job->truth[index], &scene, vc_str_get(&name));
    ExtractImage image = {.width = set->side,
                          .height = set->side,
                          .channels = 3,
                          .mode = EXTRACT_RGB,
                          .orientation = 1,
                          .pixels = pixels};
    char *path = vc_path_join(set->dir, vc_str_get(&name));
    bool ok = extract_image_encode_jpeg(&image, scene.quality, &jpeg, &n, err) && write_picture(path, jpeg, n, err);
    free(path);
    free(jpeg);
    vc_str_finish(&name);
    vc_str_finish(&caption);
    return ok;
}

static void draw_some(void *ctx, size_t begin, size_t end, size_t worker)
{
    Job *job = ctx;
    uint8_t *pixels = vc_alloc((size_t)job->set->side * (size_t)job->set->side, 3);
    (void)worker;
    for (size_t i = begin; i < end && !vc_interrupted(); i++) {
        VcErr err = {0};
        bool ok = draw_one(job, i, pixels, &err);
        pthread_mutex_lock(&job->lock);
        if (!ok && !job->failed) {
            job->failed = true;
            job->err = err;
        }
        bool stop = job->failed;
        pthread_mutex_unlock(&job->lock);
        if (stop)
            break;
        vc_progress_add(job->progress, 1, 0);
    }
    free(pixels);
}

static bool write_lines(const char *dir, const char *name, const VcStr *lines, size_t n, VcErr *err)
{
    VcAtomicFile file = {0};
    char *path = vc_path_join(dir, name);
    bool ok = vc_atomic_begin(&file, path, err);
    for (size_t i = 0; ok && i < n; i++)
        fwrite(lines[i].data, 1, lines[i].len, file.file); // commit looks at the stream's error flag
    ok = ok && vc_atomic_commit(&file, err);
    vc_atomic_discard(&file);
    free(path);
    return ok;
}

bool demo_set_write(const DemoSet *set, VcPool *pool, VcErr *err)
{
    VC_ASSERT(set->count > 0 && set->count <= DEMO_MAX_COUNT);
    char *images = vc_path_join(set->dir, "images"), *vocabulary = vc_path_join(set->dir, "vocab.txt");
    Job job = {.set = set, .lock = PTHREAD_MUTEX_INITIALIZER};
    job.captions = vc_calloc(set->count, sizeof(*job.captions));
    job.truth = vc_calloc(set->count, sizeof(*job.truth));
    bool ok = extract_image_init(err) && vc_make_dirs(images, err);
    if (ok) {
        job.progress = vc_progress_begin("draw", "scenes", set->count);
        vc_parallel_for(pool, set->count, 16, draw_some, &job);
        vc_progress_end(&job.progress);
        if (job.failed) {
            ok = false;
            vc_fail(err, job.err.code, "%s", job.err.text);
        } else if (vc_interrupted()) {
            ok = vc_fail(err, VC_ERR_CANCELLED, "drawing was interrupted; run the command again");
        }
    }
    ok = ok && demo_vocabulary_write(vocabulary, err) &&
         write_lines(set->dir, "truth.jsonl", job.truth, set->count, err) &&
         write_lines(set->dir, "captions.jsonl", job.captions, set->count, err);
    for (size_t i = 0; i < set->count; i++) {
        vc_str_finish(&job.captions[i]);
        vc_str_finish(&job.truth[i]);
    }
    free(job.captions);
    free(job.truth);
    free(images);
    free(vocabulary);
    return ok;
}

// Words are few hundred, so a list that is searched from the start does.
typedef struct {
    char **items;
    size_t count, cap;
} WordList;

static void add_word(void *ctx, const char *word, size_t n)
{
    WordList *list = ctx;
    for (size_t i = 0; i < list->count; i++) {
        if (strlen(list->items[i]) == n && memcmp(list->items[i], word, n) == 0)
            return;
    }
    list->items = vc_grow(list->items, &list->cap, list->count + 1, sizeof(*list->items));
    list->items[list->count++] = vc_strndup(word, n);
}

bool demo_vocabulary_write(const char *path, VcErr *err)
{
    static const char characters[] = "abcdefghijklmnopqrstuvwxyz0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
    WordList list = {0};
    VcStr out = {0};
    vc_str_put(&out, "[PAD]\n");
    for (int i = 0; i < 99; i++)
        vc_str_putf(&out, "[unused%d]\n", i);
    vc_str_put(&out, "[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
    for (const char *c = characters; *c; c++) // a word of one letter is its character
        add_word(&list, c, 1);
    demo_caption_words(add_word, &list);
    for (size_t i = 0; i < list.count; i++)
        vc_str_putf(&out, "%s\n", list.items[i]);
    for (const char *c = characters; *c; c++) {
        if ((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9'))
            vc_str_putf(&out, "##%c\n", *c);
    }
    bool ok = vc_write_file(path, out.data, out.len, err);
    for (size_t i = 0; i < list.count; i++)
        free(list.items[i]);
    free(list.items);
    vc_str_finish(&out);
    return ok;
}
