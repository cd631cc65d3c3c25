// SPDX-License-Identifier: MIT
#include "demo/measure.h"

#include "base/mem.h"
#include "base/str.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// The concepts of one picture, best first, folded. `folded` has each kind once; `raw` keeps words that name no object
// (DEMO_MAX_CLASSES) in their place.
enum { MAX_MINED = 64 };
typedef struct {
    const DemoTrueImage *image;
    size_t folded[MAX_MINED], raw[MAX_MINED];
    size_t folded_count, raw_count;
} Mined;

static bool contains(const size_t *items, size_t n, size_t wanted)
{
    for (size_t i = 0; i < n; i++) {
        if (items[i] == wanted)
            return true;
    }
    return false;
}

static void add_concept(Mined *m, size_t cls)
{
    if (cls == DEMO_MAX_CLASSES) {
        if (m->raw_count < MAX_MINED)
            m->raw[m->raw_count++] = cls;
        return;
    }
    if (contains(m->folded, m->folded_count, cls) || m->folded_count == MAX_MINED || m->raw_count == MAX_MINED)
        return;
    m->folded[m->folded_count++] = cls;
    m->raw[m->raw_count++] = cls;
}

// Share of the R true kinds among the first R of `list`.
static double precision(const DemoTrueImage *image, const size_t *list, size_t n)
{
    size_t right = 0, r = image->class_count;
    for (size_t i = 0; i < r && i < n; i++)
        right += contains(image->classes, r, list[i]);
    return (double)right / (double)r;
}

// Reads image_concept in image order: one Mined for every picture that the truth knows.
static bool read_mined(Mined **out, size_t *count, DemoMeasure *m, VcWorkspace *ws, const DemoTruth *truth, VcErr *err)
{
    VcStmt *stmt = NULL;
    size_t cap = 0, n = 0;
    int64_t current = -1;
    bool known = false, row = false, ok = false;
    Mined *mined = NULL;
    if (!vc_db_prepare(ws->db, &stmt,
                       "SELECT i.image_id, i.key, c.text FROM image_concept ic JOIN image i USING(image_id) "
                       "JOIN concept c USING(concept_id) ORDER BY ic.image_id, ic.rank",
                       err))
        return false;
    while ((ok = vc_stmt_step(stmt, &row, err)) && row) {
        if (vc_column_int(stmt, 0) != current) {
            current = vc_column_int(stmt, 0);
            const DemoTrueImage *image = demo_truth_find(truth, vc_column_text(stmt, 1));
            known = image != NULL;
            m->foreign += !known;
            if (known) {
                mined = vc_grow(mined, &cap, n + 1, sizeof(*mined));
                memset(&mined[n], 0, sizeof(*mined));
                mined[n++].image = image;
            }
        }
        if (known)
            add_concept(&mined[n - 1], demo_truth_fold(truth, vc_column_text(stmt, 2)));
    }
    vc_stmt_finish(&stmt);
    if (ok && n == 0) {
        ok = vc_fail(err, VC_ERR_FORMAT,
                     "'%s' holds no mined concepts of pictures that the truth lists; "
                     "run 'vicha concepts' on it first, and give the truth.jsonl that lies beside its captions",
                     ws->dir);
    }
    if (!ok) {
        free(mined);
        return false;
    }
    VC_ASSERT(mined != NULL);
    *out = mined;
    *count = n;
    return true;
}

static bool count_words(DemoMeasure *m, VcWorkspace *ws, const DemoTruth *truth, VcErr *err)
{
    VcStmt *stmt = NULL;
    bool row = false, ok;
    if (!vc_db_prepare(ws->db, &stmt, "SELECT text FROM concept WHERE removed = 0", err))
        return false;
    while ((ok = vc_stmt_step(stmt, &row, err)) && row) {
        if (demo_truth_fold(truth, vc_column_text(stmt, 0)) == DEMO_MAX_CLASSES) {
            m->other_words++;
        } else {
            m->object_words++;
        }
    }
    vc_stmt_finish(&stmt);
    return ok;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void find_thirds(DemoMeasure *m, const DemoTruth *truth)
{
    size_t n = 0;
    double *areas = vc_alloc(truth->image_count * DEMO_MAX_TRUE, sizeof(*areas));
    for (size_t i = 0; i < truth->image_count; i++) {
        for (size_t j = 0; j < truth->images[i].object_count; j++)
            areas[n++] = truth->images[i].objects[j].area;
    }
    qsort(areas, n, sizeof(*areas), compare_doubles);
    m->size_limit[0] = areas[n / 3];
    m->size_limit[1] = areas[2 * n / 3];
    free(areas);
}

static void add_share(DemoShare *s, bool right)
{
    s->right += right;
    s->all++;
}

// Recall of every object and kind of one picture, and what stood in for the kinds that were missed.
static void break_down(DemoMeasure *m, const Mined *list)
{
    const DemoTrueImage *image = list->image;
    size_t r = image->class_count, top = list->folded_count < r ? list->folded_count : r;
    for (size_t i = 0; i < image->object_count; i++) {
        const DemoTrueObject *o = &image->objects[i];
        bool found = contains(list->folded, top, o->cls);
        add_share(&m->size[o->area < m->size_limit[0] ? 0 : o->area < m->size_limit[1] ? 1 : 2], found);
        add_share(o->visible < 0.9 ? &m->hidden : &m->open, found);
        add_share(o->plain ? &m->plain : &m->textured, found);
        add_share(o->mentioned ? &m->mentioned : &m->unmentioned, found);
    }
    for (size_t i = 0; i < r; i++) {
        bool found = contains(list->folded, top, image->classes[i]);
        add_share(&m->kind[image->classes[i]], found);
        for (size_t j = 0; !found && j < top; j++) {
            if (!contains(image->classes, r, list->folded[j]))
                m->confused[image->classes[i]][list->folded[j]]++;
        }
    }
}

// What guessing without looking would give.
static void measure_chance(DemoMeasure *m, const DemoTruth *truth, const Mined *mined, size_t n)
{
    size_t order[DEMO_MAX_CLASSES];
    for (size_t i = 0; i < truth->class_count; i++) { // most frequent first; a few dozen: insertion
        size_t j = i;
        for (; j > 0 && truth->pictures[order[j - 1]] < truth->pictures[i]; j--)
            order[j] = order[j - 1];
        order[j] = i;
    }
    for (size_t i = 0; i < truth->image_count; i++) {
        const DemoTrueImage *image = &truth->images[i];
        m->chance_uniform += (double)image->class_count / (double)truth->class_count;
        m->chance_frequent += precision(image, order, truth->class_count);
    }
    for (size_t i = 0; i < n; i++) {
        const Mined *other = &mined[(i + 1) % n];
        m->chance_shuffled += precision(mined[i].image, other->folded, other->folded_count);
    }
    m->chance_uniform /= (double)truth->image_count;
    m->chance_frequent /= (double)truth->image_count;
    m->chance_shuffled /= (double)truth->image_count;
}

bool demo_measure(DemoMeasure *out, VcWorkspace *ws, const DemoTruth *truth, VcErr *err)
{
    Mined *mined = NULL;
    memset(out, 0, sizeof(*out));
    if (!read_mined(&mined, &out->mined, out, ws, truth, err) || !count_words(out, ws, truth, err)) {
        free(mined);
        return false;
    }
    out->pictures = truth->image_count;
    out->confused = vc_calloc(DEMO_MAX_CLASSES, sizeof(*out->confused));
    find_thirds(out, truth);
    for (size_t i = 0; i < truth->image_count; i++) {
        size_t r = truth->images[i].class_count;
        out->pictures_by_r[r < DEMO_MAX_R ? r : DEMO_MAX_R]++;
    }
    for (size_t i = 0; i < out->mined; i++) {
        const Mined *list = &mined[i];
        size_t r = list->image->class_count;
        double p = precision(list->image, list->folded, list->folded_count);
        out->r_precision += p;
        out->strict += precision(list->image, list->raw, list->raw_count);
        out->by_r[r < DEMO_MAX_R ? r : DEMO_MAX_R] += p;
        break_down(out, list);
    }
    for (size_t r = 0; r <= DEMO_MAX_R; r++)
        out->by_r[r] = out->pictures_by_r[r] > 0 ? out->by_r[r] / (double)out->pictures_by_r[r] : 0;
    out->r_precision /= (double)out->pictures;
    out->strict /= (double)out->pictures;
    measure_chance(out, truth, mined, out->mined);
    free(mined);
    return true;
}

void demo_measure_finish(DemoMeasure *m)
{
    free(m->confused);
    m->confused = NULL;
}

static double share(DemoShare s)
{
    return s.all > 0 ? (double)s.right / (double)s.all : 0;
}

static void print_json(const DemoMeasure *m, const DemoTruth *truth)
{
    VcStr kinds = {0};
    for (size_t i = 0; i < truth->class_count; i++) {
        vc_str_put(&kinds, i > 0 ? ", " : "");
        vc_str_put_json(&kinds, truth->classes[i], strlen(truth->classes[i]), false);
        vc_str_putf(&kinds, ": %.4f", share(m->kind[i]));
    }
    printf("{\"r_precision\": %.4f, \"strict\": %.4f, \"chance_uniform\": %.4f, \"chance_frequent\": %.4f, "
           "\"chance_shuffled\": %.4f, \"pictures\": %zu, \"mined\": %zu, \"foreign\": %zu, \"kinds\": %zu, "
           "\"by_r\": [%.4f, %.4f, %.4f, %.4f], \"recall_by_size\": [%.4f, %.4f, %.4f], \"recall_hidden\": %.4f, "
           "\"recall_open\": %.4f, \"recall_plain\": %.4f, \"recall_textured\": %.4f, \"recall_mentioned\": %.4f, "
           "\"recall_unmentioned\": %.4f, \"object_words\": %zu, \"other_words\": %zu, \"recall_by_kind\": {%s}}\n",
           m->r_precision, m->strict, m->chance_uniform, m->chance_frequent, m->chance_shuffled, m->pictures, m->mined,
           m->foreign, truth->class_count, m->by_r[1], m->by_r[2], m->by_r[3], m->by_r[4], share(m->size[0]),
           share(m->size[1]), share(m->size[2]), share(m->hidden), share(m->open), share(m->plain), share(m->textured),
           share(m->mentioned), share(m->unmentioned), m->object_words, m->other_words, vc_str_get(&kinds));
    vc_str_finish(&kinds);
}

static void print_share(const char *what, DemoShare s)
{
    if (s.all > 0)
        printf("    %-34s %6.3f  (%zu objects)\n", what, share(s), s.all);
}

static void print_worst(const DemoMeasure *m, const DemoTruth *truth)
{
    bool shown[DEMO_MAX_CLASSES] = {false};
    printf("  kinds found least, and what stood in for them:\n");
    for (size_t n = 0; n < 4 && n < truth->class_count; n++) {
        size_t worst = DEMO_MAX_CLASSES, instead = 0;
        for (size_t i = 0; i < truth->class_count; i++) {
            if (!shown[i] && (worst == DEMO_MAX_CLASSES || share(m->kind[i]) < share(m->kind[worst])))
                worst = i;
        }
        shown[worst] = true;
        for (size_t i = 1; i < truth->class_count; i++) {
            if (m->confused[worst][i] > m->confused[worst][instead])
                instead = i;
        }
        if (m->confused[worst][instead] > 0) {
            printf("    %-34s %6.3f  (most often '%s')\n", truth->classes[worst], share(m->kind[worst]),
                   truth->classes[instead]);
        } else {
            printf("    %-34s %6.3f\n", truth->classes[worst], share(m->kind[worst]));
        }
    }
}

void demo_measure_print(const DemoMeasure *m, const DemoTruth *truth, bool json)
{
    if (json) {
        print_json(m, truth);
        return;
    }
    printf("R-precision of the mined concepts    %6.3f\n", m->r_precision);
    printf("  words that name no object count as wrong  %6.3f\n", m->strict);
    printf("  chance: kinds drawn at random      %6.3f\n", m->chance_uniform);
    printf("  chance: always the most frequent   %6.3f\n", m->chance_frequent);
    printf("  chance: another picture's concepts %6.3f\n", m->chance_shuffled);
    printf("  %zu pictures, %zu mined; %zu kinds, %zu concepts fold into them, %zu name no object\n", m->pictures,
           m->mined, truth->class_count, m->object_words, m->other_words);
    printf("  what limits it:\n");
    for (size_t r = 1; r <= DEMO_MAX_R; r++) {
        static const char *const labels[DEMO_MAX_R] = {"1 kind in the picture", "2 kinds in the picture",
                                                       "3 kinds in the picture", "4 kinds or more"};
        if (m->pictures_by_r[r] > 0)
            printf("    %-34s %6.3f  (%zu pictures)\n", labels[r - 1], m->by_r[r], m->pictures_by_r[r]);
    }
    printf("  objects found among the first R:\n");
    print_share("small (by box area)", m->size[0]);
    print_share("medium", m->size[1]);
    print_share("large", m->size[2]);
    print_share("partly hidden (under 90 % visible)", m->hidden);
    print_share("in the open", m->open);
    print_share("plain", m->plain);
    print_share("textured", m->textured);
    print_share("named by a caption", m->mentioned);
    print_share("named by none", m->unmentioned);
    print_worst(m, truth);
}
