// SPDX-License-Identifier: MIT
#include "train/recipe.h"

#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"

#include <inttypes.h>
#include <math.h>

typedef enum { KEY_INT, KEY_REAL, KEY_BOOL, KEY_STRING, KEY_CHOICE, KEY_PATHS } KeyType;

// A row of the key table. `initial` is the default as JSON text, so that defaults pass through the same checks.
typedef struct {
    const char *path; // "section.key" or "key"; rows of one section stand together
    KeyType type;
    size_t offset;
    const char *initial;
    double min, max;
    const char *choices; // KEY_CHOICE: names separated by '|', in the order of the enum
    bool habit;          // does not change the numbers of a run: left out of the fingerprint
    const char *help;
} Key;

#define AT(field) offsetof(TrainRecipe, field)

static const Key keys[] = {
    {"name", KEY_STRING, AT(name), "\"run\"", 0, 0, NULL, true, "name of the run, shown in the plot"},
    {"objective", KEY_CHOICE, AT(objective), "\"clip\"", 0, 0, "clip|vicha-itc", false,
     "clip: two-tower contrastive model, exported in Hugging Face layout; vicha-itc: ViT with concepts, BERT, ITC "
     "loss"},
    {"seed", KEY_INT, AT(seed), "42", 0, 9007199254740991.0, NULL, false, "seed of every random decision"},

    {"data.records", KEY_PATHS, AT(records), "[\"records\"]", 0, 0, NULL, false,
     "record folders, relative ones below the workspace"},
    {"data.holdout", KEY_REAL, AT(holdout), "0.05", 0, 0.9, NULL, false,
     "share of the records kept for evaluation, chosen by a hash of their number"},
    {"data.workers", KEY_INT, AT(workers), "1", 1, 64, NULL, true, "threads that decode and collate ahead of the step"},
    {"data.prefetch", KEY_INT, AT(prefetch), "4", 1, 64, NULL, true, "batches prepared ahead"},
    {"data.window", KEY_INT, AT(window), "0", 0, 1e6, NULL, false,
     "shards shuffled together, 0 = all (see the reading order in docs/FORMATS.md)"},
    {"data.cache_mib", KEY_INT, AT(cache_mib), "512", 0, 1 << 20, NULL, true,
     "memory for decoded images, MiB: what fits is decoded once and not in every epoch"},
    {"data.on_bad", KEY_CHOICE, AT(on_bad), "\"stop\"", 0, 0, "stop|skip", false,
     "a record that cannot be used: stop, or count it and take the next image in its place"},

    {"image.size", KEY_INT, AT(image_size), "64", 8, 1024, NULL, false, "pixels on a side of the model's input"},
    {"image.crop_min", KEY_REAL, AT(crop_min), "0.6", 0.01, 1, NULL, false, "smallest area share of the random crop"},
    {"image.crop_max", KEY_REAL, AT(crop_max), "1", 0.01, 1, NULL, false, "largest area share of the random crop"},
    {"image.ratio_max", KEY_REAL, AT(ratio_max), "1.3333333333333333", 1, 4, NULL, false,
     "largest aspect ratio of the random crop (the smallest is its inverse)"},
    {"image.flip", KEY_BOOL, AT(flip), "false", 0, 0, NULL, false,
     "mirror half of the images (left and right in a caption go wrong)"},

    {"tokenizer.dir", KEY_STRING, AT(tokenizer_dir), "\"\"", 0, 0, NULL, false,
     "folder with vocab.json and merges.txt of a CLIP tokenizer"},
    {"tokenizer.vocab", KEY_STRING, AT(tokenizer_vocab), "\"\"", 0, 0, NULL, false,
     "vocab.json, with tokenizer.merges"},
    {"tokenizer.merges", KEY_STRING, AT(tokenizer_merges), "\"\"", 0, 0, NULL, false,
     "merges.txt, with tokenizer.vocab"},
    {"tokenizer.learn", KEY_INT, AT(tokenizer_learn), "2048", 0, 200000, NULL, false,
     "learn a CLIP vocabulary of this many entries from the captions (515 = bytes only); 0 = do not"},
    {"tokenizer.words", KEY_INT, AT(word_vocab), "0", 0, 1000000, NULL, false,
     "vicha-itc: size of the WordPiece vocabulary of the records, 0 = as they say"},

    {"model.vision.width", KEY_INT, AT(vision.width), "192", 8, 4096, NULL, false, "width of the image tower"},
    {"model.vision.layers", KEY_INT, AT(vision.layers), "6", 1, 64, NULL, false, "blocks of the image tower"},
    {"model.vision.heads", KEY_INT, AT(vision.heads), "3", 1, 64, NULL, false, "attention heads of the image tower"},
    {"model.vision.mlp", KEY_INT, AT(vision.mlp), "0", 0, 16384, NULL, false,
     "hidden width of its feed-forward part, 0 = 4 x width"},
    {"model.vision.patch", KEY_INT, AT(patch), "8", 1, 64, NULL, false, "pixels on a side of a patch"},
    {"model.text.width", KEY_INT, AT(text.width), "128", 8, 4096, NULL, false, "width of the text tower"},
    {"model.text.layers", KEY_INT, AT(text.layers), "4", 1, 64, NULL, false, "layers of the text tower"},
    {"model.text.heads", KEY_INT, AT(text.heads), "2", 1, 64, NULL, false, "attention heads of the text tower"},
    {"model.text.mlp", KEY_INT, AT(text.mlp), "0", 0, 16384, NULL, false,
     "hidden width of its feed-forward part, 0 = 4 x width"},
    {"model.text.context", KEY_INT, AT(context), "32", 4, 512, NULL, false,
     "most tokens of a caption, special ones included"},
    {"model.proj", KEY_INT, AT(proj), "128", 4, 4096, NULL, false, "width of the joint embedding"},
    {"model.activation", KEY_CHOICE, AT(activation), "\"quick_gelu\"", 0, 0, "quick_gelu|gelu", false,
     "clip: activation of the feed-forward parts (vicha-itc always has the exact gelu)"},
    {"model.init", KEY_CHOICE, AT(init), "\"openai\"", 0, 0, "openai|structured", false,
     "clip: first values as OpenAI's, or with a cosine basis of patches and sine-cosine positions: learns from less "
     "data"},
    {"model.concepts", KEY_BOOL, AT(concepts), "true", 0, 0, NULL, false,
     "vicha-itc: concept tokens join the image tower"},
    {"model.concept_layers", KEY_INT, AT(concept_layers), "2", 1, 12, NULL, false,
     "vicha-itc: layers of the concept encoder"},
    {"model.concept_draws", KEY_INT, AT(concept_draws), "4", 1, 64, NULL, false,
     "vicha-itc: concepts drawn for an image in training, with replacement (evaluation takes all)"},
    {"model.temperature", KEY_REAL, AT(init_temperature), "0.07", 0.001, 1, NULL, false,
     "first temperature of the loss, learned from there"},

    {"loss.duplicates", KEY_CHOICE, AT(duplicates), "\"share\"", 0, 0, "share|ignore", false,
     "equal captions in a batch: share the target, or count as negatives of each other as CLIP does"},

    {"optim.lr", KEY_REAL, AT(lr), "0.001", 0, 1, NULL, false, "learning rate after warm-up"},
    {"optim.min_lr", KEY_REAL, AT(min_lr), "1e-05", 0, 1, NULL, false, "learning rate the cosine falls to"},
    {"optim.warmup_lr", KEY_REAL, AT(warmup_lr), "1e-05", 0, 1, NULL, false,
     "schedule epoch: learning rate of the first step (schedule step begins at lr / warmup_steps)"},
    {"optim.warmup_steps", KEY_INT, AT(warmup_steps), "100", 0, 1e9, NULL, false,
     "steps of linear warm-up (schedule epoch: rounded down to hundreds, as its rate changes only there)"},
    {"optim.schedule", KEY_CHOICE, AT(schedule), "\"step\"", 0, 0, "step|epoch", false,
     "cosine at every step, or constant inside an epoch as ViCHA and ALBEF do"},
    {"optim.weight_decay", KEY_REAL, AT(weight_decay), "0.02", 0, 10, NULL, false,
     "decoupled decay of matrices and tables"},
    {"optim.beta1", KEY_REAL, AT(beta1), "0.9", 0, 0.99999, NULL, false, "AdamW's first decay rate"},
    {"optim.beta2", KEY_REAL, AT(beta2), "0.999", 0, 0.9999999, NULL, false, "AdamW's second decay rate"},
    {"optim.eps", KEY_REAL, AT(eps), "1e-08", 1e-16, 1, NULL, false, "AdamW's epsilon"},
    {"optim.clip_norm", KEY_REAL, AT(clip_norm), "1", 0, 1e9, NULL, false,
     "largest norm of the whole gradient, 0 = no limit"},
    {"optim.accumulate", KEY_INT, AT(accumulate), "1", 1, 1024, NULL, false,
     "batches whose gradients are averaged before a step"},

    {"train.epochs", KEY_INT, AT(epochs), "10", 1, 1e6, NULL, false, "passes over the training part"},
    {"train.steps", KEY_INT, AT(steps), "0", 0, 1e12, NULL, false,
     "steps of the whole run, 0 = as many as the epochs give"},
    {"train.batch", KEY_INT, AT(batch), "64", 2, 65536, NULL, false, "image-caption pairs of a batch"},

    {"eval.every", KEY_INT, AT(eval_every), "200", 0, 1e12, NULL, true,
     "steps between evaluations, 0 = only at the end"},
    {"eval.samples", KEY_INT, AT(eval_samples), "256", 2, 100000, NULL, true, "held-out images used at most"},
    {"log.every", KEY_INT, AT(log_every), "10", 1, 1e9, NULL, true, "steps between lines of metrics.jsonl"},
    {"checkpoint.every", KEY_INT, AT(checkpoint_every), "500", 0, 1e12, NULL, true,
     "steps between checkpoints, 0 = only at the end"},
    {"checkpoint.keep", KEY_INT, AT(checkpoint_keep), "2", 1, 1000, NULL, true, "newest checkpoints kept"},
};
enum { KEY_COUNT = sizeof keys / sizeof *keys };

static void *field(TrainRecipe *recipe, const Key *key)
{
    return (char *)recipe + key->offset;
}

static const void *field_const(const TrainRecipe *recipe, const Key *key)
{
    return (const char *)recipe + key->offset;
}

static void paths_finish(TrainPaths *paths)
{
    for (size_t i = 0; i < paths->count; i++)
        free(paths->items[i]);
    free(paths->items);
    *paths = (TrainPaths){0};
}

void train_recipe_finish(TrainRecipe *recipe)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (keys[i].type == KEY_STRING) {
            free(*(char **)field(recipe, &keys[i]));
        } else if (keys[i].type == KEY_PATHS) {
            paths_finish(field(recipe, &keys[i]));
        }
    }
    *recipe = (TrainRecipe){0};
}

// Edit distance with two rows; words longer than 63 bytes count as far apart.
static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), row[64];
    if (n > 63 || m > 63)
        return 64;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t change = corner + (a[i - 1] != b[j - 1]), above = row[j] + 1, left = row[j - 1] + 1;
            corner = row[j];
            row[j] = change < above ? change : above;
            row[j] = row[j] < left ? row[j] : left;
        }
    }
    return row[m];
}

static const char *last_word(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

// The nearest key: by its whole name, or by its last word when the section is wrong or missing.
static const char *nearest_key(const char *path)
{
    const char *best = NULL;
    size_t least = 4;
    for (size_t i = 0; i < KEY_COUNT; i++) {
        size_t whole = distance(path, keys[i].path);
        size_t word = strcmp(last_word(path), last_word(keys[i].path)) == 0 ? 1 : whole;
        size_t d = word < whole ? word : whole;
        if (d < least) {
            least = d;
            best = keys[i].path;
        }
    }
    return best;
}

static const Key *find_key(const char *path, const char *where, VcErr *err)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strcmp(keys[i].path, path) == 0)
            return &keys[i];
    }
    const char *near = nearest_key(path);
    if (near) {
        vc_fail(err, VC_ERR_USAGE, "%s: unknown key '%s'; did you mean '%s'?", where, path, near);
    } else {
        vc_fail(err, VC_ERR_USAGE, "%s: unknown key '%s' ('vicha train --keys' lists all)", where, path);
    }
    return NULL;
}

static bool set_choice(int64_t *out, const Key *key, const char *name, const char *where, VcErr *err)
{
    size_t n = strlen(name);
    const char *at = key->choices;
    for (int64_t index = 0; at; index++) {
        size_t length = strcspn(at, "|");
        if (length == n && memcmp(at, name, n) == 0) {
            *out = index;
            return true;
        }
        at = at[length] ? at + length + 1 : NULL;
    }
    return vc_fail(err, VC_ERR_USAGE, "%s: '%s' is '%s', expected one of %s", where, key->path, name, key->choices);
}

static bool set_paths(TrainPaths *paths, const Key *key, const VcJson *value, const char *where, VcErr *err)
{
    bool single = vc_json_is_string(value);
    size_t n = single ? 1 : vc_json_length(value);
    if (n == 0 || (!single && !vc_json_is_array(value)))
        return vc_fail(err, VC_ERR_USAGE, "%s: '%s' must be a path or a list of paths", where, key->path);
    TrainPaths made = {vc_calloc(n, sizeof *made.items), n};
    for (size_t i = 0; i < n; i++) {
        const char *path = vc_json_string(single ? value : vc_json_item(value, i), NULL);
        if (!path || !*path) {
            paths_finish(&made);
            return vc_fail(err, VC_ERR_USAGE, "%s: item %zu of '%s' is not a path", where, i + 1, key->path);
        }
        made.items[i] = vc_strdup(path);
    }
    paths_finish(paths);
    *paths = made;
    return true;
}

static bool check_range(const Key *key, double x, const char *where, VcErr *err)
{
    if (isfinite(x) && x >= key->min && x <= key->max)
        return true;
    return vc_fail(err, VC_ERR_USAGE, "%s: '%s' is %.10g, expected %.10g to %.10g", where, key->path, x, key->min,
                   key->max);
}

static bool set_value(TrainRecipe *recipe, const Key *key, const VcJson *value, const char *where, VcErr *err)
{
    void *at = field(recipe, key);
    const char *text = vc_json_string(value, NULL);
    switch (key->type) {
    case KEY_INT: {
        double x = vc_json_number(value, NAN);
        if (!vc_json_is_number(value) || x != floor(x))
            return vc_fail(err, VC_ERR_USAGE, "%s: '%s' must be a whole number", where, key->path);
        if (!check_range(key, x, where, err))
            return false;
        *(int64_t *)at = (int64_t)x;
        return true;
    }
    case KEY_REAL: {
        double x = vc_json_number(value, NAN);
        if (!vc_json_is_number(value))
            return vc_fail(err, VC_ERR_USAGE, "%s: '%s' must be a number", where, key->path);
        if (!check_range(key, x, where, err))
            return false;
        *(double *)at = x;
        return true;
    }
    case KEY_BOOL:
        if (vc_json_bool(value, false) != vc_json_bool(value, true))
            return vc_fail(err, VC_ERR_USAGE, "%s: '%s' must be true or false", where, key->path);
        *(bool *)at = vc_json_bool(value, false);
        return true;
    case KEY_STRING:
        if (!text)
            return vc_fail(err, VC_ERR_USAGE, "%s: '%s' must be a string", where, key->path);
        free(*(char **)at);
        *(char **)at = vc_strdup(text);
        return true;
    case KEY_CHOICE:
        if (!text)
            return vc_fail(err, VC_ERR_USAGE, "%s: '%s' must be one of %s", where, key->path, key->choices);
        return set_choice(at, key, text, where, err);
    case KEY_PATHS:
        return set_paths(at, key, value, where, err);
    }
    VC_ASSERT(!"key type");
    return false;
}

static bool is_section(const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strncmp(keys[i].path, path, n) == 0 && keys[i].path[n] == '.')
            return true;
    }
    return false;
}

// Walks an object of the file; `prefix` is "" or "section.".
static bool read_object(TrainRecipe *recipe, const VcJson *object, const char *prefix, const char *where, VcErr *err)
{
    void *iter = NULL;
    const char *name;
    VcJson *value;
    while (vc_json_next_member(object, &iter, &name, &value)) {
        if (name[0] == '#') // a comment: JSON has none of its own
            continue;
        VcStr path = {0};
        vc_str_putf(&path, "%s%s", prefix, name);
        bool ok;
        if (vc_json_is_object(value) && is_section(path.data)) {
            vc_str_putc(&path, '.');
            ok = read_object(recipe, value, path.data, where, err);
        } else if (is_section(path.data)) {
            ok = vc_fail(err, VC_ERR_USAGE, "%s: '%s' is a section, expected an object", where, path.data);
        } else {
            const Key *key = find_key(path.data, where, err);
            ok = key && set_value(recipe, key, value, where, err);
        }
        vc_str_finish(&path);
        if (!ok)
            return false;
    }
    return true;
}

static bool set_text(TrainRecipe *recipe, const Key *key, const char *text, const char *where, VcErr *err)
{
    VcJson *holder = NULL;
    VcStr wrapped = {0};
    vc_str_putf(&wrapped, "[%s]", text);
    bool plain = !vc_json_parse(&holder, wrapped.data, wrapped.len, where, NULL) || vc_json_length(holder) != 1;
    if (plain) { // --set name=abc: a bare word is a string
        vc_json_destroy(&holder);
        vc_str_clear(&wrapped);
        vc_str_putc(&wrapped, '[');
        vc_str_put_json(&wrapped, text, strlen(text), false);
        vc_str_putc(&wrapped, ']');
        if (!vc_json_parse(&holder, wrapped.data, wrapped.len, where, err)) {
            vc_str_finish(&wrapped);
            return false;
        }
    }
    vc_str_finish(&wrapped);
    bool ok = set_value(recipe, key, vc_json_item(holder, 0), where, err);
    vc_json_destroy(&holder);
    return ok;
}

static bool apply_override(TrainRecipe *recipe, const char *text, VcErr *err)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return vc_fail(err, VC_ERR_USAGE, "--set '%s': expected key=value", text);
    char *path = vc_strndup(text, (size_t)(equals - text));
    const Key *key = find_key(path, "--set", err);
    free(path);
    return key && set_text(recipe, key, equals + 1, "--set", err);
}

static bool check_tower(const TrainTower *tower, const char *name, VcErr *err)
{
    if (tower->width % tower->heads != 0) {
        return vc_fail(err, VC_ERR_USAGE,
                       "recipe: model.%s.width %" PRId64 " is not a multiple of its %" PRId64 " heads", name,
                       tower->width, tower->heads);
    }
    return true;
}

static bool check_whole(TrainRecipe *recipe, VcErr *err)
{
    if (recipe->init == TRAIN_INIT_STRUCTURED && recipe->vision.width % 4 != 0)
        return vc_fail(err, VC_ERR_USAGE,
                       "recipe: model.init \"structured\" needs a model.vision.width that is a "
                       "multiple of 4");
    if (recipe->vision.mlp == 0)
        recipe->vision.mlp = 4 * recipe->vision.width;
    if (recipe->text.mlp == 0)
        recipe->text.mlp = 4 * recipe->text.width;
    if (!check_tower(&recipe->vision, "vision", err) || !check_tower(&recipe->text, "text", err))
        return false;
    if (recipe->image_size % recipe->patch != 0) {
        return vc_fail(err, VC_ERR_USAGE,
                       "recipe: image.size %" PRId64 " is not a multiple of model.vision.patch %" PRId64,
                       recipe->image_size, recipe->patch);
    }
    if (recipe->crop_min > recipe->crop_max) {
        return vc_fail(err, VC_ERR_USAGE, "recipe: image.crop_min %g is above image.crop_max %g", recipe->crop_min,
                       recipe->crop_max);
    }
    if (recipe->objective != TRAIN_CLIP)
        return true;
    bool files = *recipe->tokenizer_vocab || *recipe->tokenizer_merges;
    if (files && (!*recipe->tokenizer_vocab || !*recipe->tokenizer_merges))
        return vc_fail(err, VC_ERR_USAGE, "recipe: tokenizer.vocab and tokenizer.merges go together");
    if (files && *recipe->tokenizer_dir)
        return vc_fail(err, VC_ERR_USAGE, "recipe: give tokenizer.dir or tokenizer.vocab and .merges, not both");
    if (files || *recipe->tokenizer_dir) {
        recipe->tokenizer_learn = 0; // a tokenizer that is named wins over the default of learning one
    } else if (recipe->tokenizer_learn < 515) {
        return vc_fail(err, VC_ERR_USAGE,
                       "recipe: name a tokenizer (tokenizer.dir, or .vocab and .merges) or learn one of at least 515 "
                       "entries (tokenizer.learn: 512 byte symbols, a merge and two special tokens)");
    }
    return true;
}

bool train_recipe_load(TrainRecipe *recipe, const char *path, const char *const *sets, size_t set_count, VcErr *err)
{
    TrainRecipe made = {0};
    VcJson *json = NULL;
    bool ok = true;
    for (size_t i = 0; i < KEY_COUNT; i++)
        VC_ASSERT(set_text(&made, &keys[i], keys[i].initial, "default", NULL));
    if (path) {
        ok = vc_json_read_file(&json, path, 1 << 20, err);
        if (ok && !vc_json_is_object(json))
            ok = vc_fail(err, VC_ERR_USAGE, "%s: a recipe is one JSON object", path);
        ok = ok && read_object(&made, json, "", path, err);
    }
    for (size_t i = 0; ok && i < set_count; i++)
        ok = apply_override(&made, sets[i], err);
    ok = ok && check_whole(&made, err);
    vc_json_destroy(&json);
    if (!ok) {
        train_recipe_finish(&made);
        return false;
    }
    *recipe = made;
    return true;
}

static void put_choice(VcStr *out, const Key *key, int64_t index)
{
    const char *at = key->choices;
    for (; index > 0; index--)
        at = strchr(at, '|') + 1;
    vc_str_put_json(out, at, strcspn(at, "|"), false);
}

// The shortest of three lengths that reads back as the same number.
static void put_real(VcStr *out, double x)
{
    char text[32];
    for (int digits = 6; digits <= 17; digits += digits < 15 ? 9 : 2) {
        double back;
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (vc_parse_double(text, &back) && back == x)
            break;
    }
    vc_str_put(out, text);
}

static void put_value(VcStr *out, const Key *key, const TrainRecipe *recipe)
{
    const void *at = field_const(recipe, key);
    switch (key->type) {
    case KEY_INT:
        vc_str_putf(out, "%" PRId64, *(const int64_t *)at);
        break;
    case KEY_REAL:
        put_real(out, *(const double *)at);
        break;
    case KEY_BOOL:
        vc_str_put(out, *(const bool *)at ? "true" : "false");
        break;
    case KEY_STRING: {
        const char *text = *(char *const *)at;
        vc_str_put_json(out, text, strlen(text), false);
        break;
    }
    case KEY_CHOICE:
        put_choice(out, key, *(const int64_t *)at);
        break;
    case KEY_PATHS: {
        const TrainPaths *paths = at;
        for (size_t i = 0; i < paths->count; i++) {
            vc_str_put(out, i ? ", " : "[");
            vc_str_put_json(out, paths->items[i], strlen(paths->items[i]), false);
        }
        vc_str_putc(out, ']');
        break;
    }
    }
}

// Number of leading sections that two dotted paths share.
static size_t shared_sections(const char *a, const char *b)
{
    size_t shared = 0;
    for (size_t i = 0; a[i] == b[i] && a[i]; i++)
        shared += a[i] == '.';
    return shared;
}

static size_t section_count(const char *path)
{
    size_t n = 0;
    for (; *path; path++)
        n += *path == '.';
    return n;
}

static void put_indent(VcStr *out, size_t depth)
{
    vc_str_putf(out, "%*s", (int)(4 * depth), "");
}

void train_recipe_write(const TrainRecipe *recipe, VcStr *out)
{
    const char *previous = "";
    vc_str_put(out, "{");
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const char *path = keys[i].path;
        size_t shared = shared_sections(previous, path), depth = section_count(path);
        for (size_t open = section_count(previous); open > shared; open--) {
            vc_str_putc(out, '\n');
            put_indent(out, open);
            vc_str_putc(out, '}');
        }
        vc_str_put(out, i ? ",\n" : "\n");
        const char *word = path;
        for (size_t d = 0; d < depth; d++) {
            size_t n = strcspn(word, ".");
            if (d >= shared) {
                put_indent(out, d + 1);
                vc_str_putf(out, "\"%.*s\": {\n", (int)n, word);
            }
            word += n + 1;
        }
        put_indent(out, depth + 1);
        vc_str_putf(out, "\"%s\": ", word);
        put_value(out, &keys[i], recipe);
        previous = path;
    }
    for (size_t open = section_count(previous); open > 0; open--) {
        vc_str_putc(out, '\n');
        put_indent(out, open);
        vc_str_putc(out, '}');
    }
    vc_str_put(out, "\n}\n");
}

void train_recipe_print_keys(VcStr *out)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const Key *key = &keys[i];
        vc_str_putf(out, "%-22s %s", key->path, key->help);
        if (key->type == KEY_INT || key->type == KEY_REAL) {
            vc_str_putf(out, " [%s, %.10g to %.10g]\n", key->initial, key->min, key->max);
        } else if (key->type == KEY_CHOICE) {
            vc_str_putf(out, " [%s, of %s]\n", key->initial, key->choices);
        } else {
            vc_str_putf(out, " [%s]\n", key->initial);
        }
    }
}

uint64_t train_recipe_fingerprint(const TrainRecipe *recipe)
{
    VcStr text = {0};
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (keys[i].habit)
            continue;
        vc_str_putf(&text, "%s=", keys[i].path);
        put_value(&text, &keys[i], recipe);
        vc_str_putc(&text, '\n');
    }
    uint64_t hash = vc_xxh64(text.data, text.len);
    vc_str_finish(&text);
    return hash;
}
