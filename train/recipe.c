// SPDX-License-Identifier: MIT
#include "train/recipe_keys.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "train/recipe_builtin.h"

#include <inttypes.h>
#include <math.h>

static void *field(TrainRecipe *recipe, const RecipeKey *key)
{
    return (char *)recipe + key->offset;
}

static const void *field_const(const TrainRecipe *recipe, const RecipeKey *key)
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
    for (size_t i = 0; i < recipe_key_count; i++) {
        if (recipe_keys[i].type == KEY_STRING) {
            free(*(char **)field(recipe, &recipe_keys[i]));
        } else if (recipe_keys[i].type == KEY_PATHS) {
            paths_finish(field(recipe, &recipe_keys[i]));
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
    for (size_t i = 0; i < recipe_key_count; i++) {
        size_t whole = distance(path, recipe_keys[i].path);
        size_t word = strcmp(last_word(path), last_word(recipe_keys[i].path)) == 0 ? 1 : whole;
        size_t d = word < whole ? word : whole;
        if (d < least) {
            least = d;
            best = recipe_keys[i].path;
        }
    }
    return best;
}

static const RecipeKey *find_key(const char *path, const char *where, VcErr *err)
{
    for (size_t i = 0; i < recipe_key_count; i++) {
        if (strcmp(recipe_keys[i].path, path) == 0)
            return &recipe_keys[i];
    }
    const char *near = nearest_key(path);
    if (near) {
        vc_fail(err, VC_ERR_USAGE, "%s: unknown key '%s'; did you mean '%s'?", where, path, near);
    } else {
        vc_fail(err, VC_ERR_USAGE, "%s: unknown key '%s' ('vicha train --keys' lists all)", where, path);
    }
    return NULL;
}

static bool set_choice(int64_t *out, const RecipeKey *key, const char *name, const char *where, VcErr *err)
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

static bool set_paths(TrainPaths *paths, const RecipeKey *key, const VcJson *value, const char *where, VcErr *err)
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

static bool check_range(const RecipeKey *key, double x, const char *where, VcErr *err)
{
    if (isfinite(x) && x >= key->min && x <= key->max)
        return true;
    return vc_fail(err, VC_ERR_USAGE, "%s: '%s' is %.10g, expected %.10g to %.10g", where, key->path, x, key->min,
                   key->max);
}

static bool set_reals(TrainReals *reals, const RecipeKey *key, const VcJson *value, const char *where, VcErr *err)
{
    TrainReals made = {.count = vc_json_length(value)};
    if (!vc_json_is_array(value) || made.count > TRAIN_MAX_REALS) {
        return vc_fail(err, VC_ERR_USAGE, "%s: '%s' must be a list of at most %d numbers", where, key->path,
                       (int)TRAIN_MAX_REALS);
    }
    for (size_t i = 0; i < made.count; i++) {
        const VcJson *item = vc_json_item(value, i);
        if (!vc_json_is_number(item))
            return vc_fail(err, VC_ERR_USAGE, "%s: item %zu of '%s' is not a number", where, i + 1, key->path);
        made.items[i] = vc_json_number(item, NAN);
        if (!check_range(key, made.items[i], where, err))
            return false;
    }
    *reals = made;
    return true;
}

static bool set_value(TrainRecipe *recipe, const RecipeKey *key, const VcJson *value, const char *where, VcErr *err)
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
    case KEY_REALS:
        return set_reals(at, key, value, where, err);
    }
    VC_ASSERT(!"key type");
    return false;
}

static bool is_section(const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < recipe_key_count; i++) {
        if (strncmp(recipe_keys[i].path, path, n) == 0 && recipe_keys[i].path[n] == '.')
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
            const RecipeKey *key = find_key(path.data, where, err);
            ok = key && set_value(recipe, key, value, where, err);
        }
        vc_str_finish(&path);
        if (!ok)
            return false;
    }
    return true;
}

static bool set_text(TrainRecipe *recipe, const RecipeKey *key, const char *text, const char *where, VcErr *err)
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
    const RecipeKey *key = find_key(path, "--set", err);
    free(path);
    return key && set_text(recipe, key, equals + 1, "--set", err);
}

static bool read_file(VcJson **json, const char *path, VcErr *err)
{
    if (!vc_exists(path) && !strchr(path, '/') && !strchr(path, '.')) {
        VcStr names = {0};
        size_t count;
        const TrainBuiltin *builtins = train_builtins(&count);
        for (size_t i = 0; i < count; i++)
            vc_str_putf(&names, "%s%s", i ? ", " : "", builtins[i].name);
        vc_fail(err, VC_ERR_USAGE, "no file '%s', and no recipe of that name comes with the program: there are %s",
                path, names.data);
        vc_str_finish(&names);
        return false;
    }
    return vc_json_read_file(json, path, 1 << 20, err);
}

// A file wins over a recipe of the program with the same name.
static bool open_json(VcJson **json, const char *path, VcErr *err)
{
    const TrainBuiltin *builtin = vc_exists(path) && !vc_is_directory(path) ? NULL : train_builtin_find(path);
    const bool ok =
        builtin ? vc_json_parse(json, builtin->text, strlen(builtin->text), path, err) : read_file(json, path, err);
    return ok && (vc_json_is_object(*json) || vc_fail(err, VC_ERR_USAGE, "%s: a recipe is one JSON object", path));
}

// The defaults of the table and of `objective` (-1: of the table alone), then the file (NULL: none), then the
// overrides.
static bool read_recipe(TrainRecipe *made, int64_t objective, const VcJson *json, const char *path,
                        const char *const *sets, size_t set_count, VcErr *err)
{
    for (size_t i = 0; i < recipe_key_count; i++)
        VC_ASSERT(set_text(made, &recipe_keys[i], recipe_keys[i].initial, "default", NULL));
    for (size_t i = 0; i < recipe_own_default_count; i++) {
        const RecipeDefault *own = &recipe_own_defaults[i];
        if (own->objective == objective)
            VC_ASSERT(set_text(made, find_key(own->path, "default", NULL), own->initial, "default", NULL));
    }
    if (json && !read_object(made, json, "", path, err))
        return false;
    for (size_t i = 0; i < set_count; i++) {
        if (!apply_override(made, sets[i], err))
            return false;
    }
    return true;
}

bool train_recipe_load(TrainRecipe *recipe, const char *path, const char *const *sets, size_t set_count, VcErr *err)
{
    TrainRecipe made = {0};
    VcJson *json = NULL;
    bool ok = !path || open_json(&json, path, err);
    ok = ok && read_recipe(&made, -1, json, path, sets, set_count, err);
    if (ok) { // again, now that the objective is known: its own defaults come before the file
        const int64_t objective = made.objective;
        train_recipe_finish(&made);
        ok = read_recipe(&made, objective, json, path, sets, set_count, err);
    }
    ok = ok && recipe_check(&made, err);
    vc_json_destroy(&json);
    if (!ok) {
        train_recipe_finish(&made);
        return false;
    }
    *recipe = made;
    return true;
}

static void put_choice(VcStr *out, const RecipeKey *key, int64_t index)
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

static void put_value(VcStr *out, const RecipeKey *key, const TrainRecipe *recipe)
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
    case KEY_REALS: {
        const TrainReals *reals = at;
        vc_str_putc(out, '[');
        for (size_t i = 0; i < reals->count; i++) {
            vc_str_put(out, i ? ", " : "");
            put_real(out, reals->items[i]);
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
    for (size_t i = 0; i < recipe_key_count; i++) {
        const char *path = recipe_keys[i].path;
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
        put_value(out, &recipe_keys[i], recipe);
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
    for (size_t i = 0; i < recipe_key_count; i++) {
        const RecipeKey *key = &recipe_keys[i];
        vc_str_putf(out, "%-22s %s [%s", key->path, key->help, key->initial);
        for (size_t k = 0; k < recipe_own_default_count; k++) {
            if (strcmp(recipe_own_defaults[k].path, key->path) == 0) {
                vc_str_put(out, "; ");
                put_choice(out, find_key("objective", "default", NULL), recipe_own_defaults[k].objective);
                vc_str_putf(out, " %s", recipe_own_defaults[k].initial);
            }
        }
        if (key->type == KEY_INT || key->type == KEY_REAL) {
            vc_str_putf(out, ", %.10g to %.10g", key->min, key->max);
        } else if (key->type == KEY_CHOICE) {
            vc_str_putf(out, ", of %s", key->choices);
        }
        vc_str_put(out, "]\n");
    }
}

uint64_t train_recipe_fingerprint(const TrainRecipe *recipe)
{
    VcStr text = {0};
    for (size_t i = 0; i < recipe_key_count; i++) {
        if (recipe_keys[i].habit)
            continue;
        vc_str_putf(&text, "%s=", recipe_keys[i].path);
        put_value(&text, &recipe_keys[i], recipe);
        vc_str_putc(&text, '\n');
    }
    uint64_t hash = vc_xxh64(text.data, text.len);
    vc_str_finish(&text);
    return hash;
}
