// SPDX-License-Identifier: MIT
//
// index.json: parsing with every check of the format, and writing as Python's json.dumps(sort_keys=True) does.
#include "index/mds.h"

#include "base/hash.h"
#include "base/mem.h"

#include <string.h>

static const uint64_t max_samples = (uint64_t)1 << 40;

void mds_entry_finish(MdsEntry *e)
{
    mds_schema_finish(&e->schema);
    free(e->compression);
    free(e->hashes_json);
    free(e->raw.basename);
    free(e->raw.hashes_json);
    free(e->zip.basename);
    free(e->zip.hashes_json);
    *e = (MdsEntry){0};
}

void mds_index_finish(MdsIndex *index)
{
    for (size_t i = 0; i < index->count; i++)
        mds_entry_finish(&index->entries[i]);
    free(index->entries);
    *index = (MdsIndex){0};
}

static bool get_member(const VcJson *json, const char *key, VcJson **out, const char *what, VcErr *err)
{
    *out = vc_json_member(json, key);
    return *out != NULL || vc_fail(err, VC_ERR_FORMAT, "%s: missing key '%s'", what, key);
}

static bool get_list(const VcJson *json, const char *key, VcJson **out, const char *what, VcErr *err)
{
    return get_member(json, key, out, what, err) &&
           (vc_json_is_array(*out) || vc_fail(err, VC_ERR_FORMAT, "%s: '%s' is not a list", what, key));
}

// A string without zero bytes.
static bool get_text(const VcJson *json, const char **out, const char *key, const char *what, VcErr *err)
{
    size_t n;
    *out = vc_json_string(json, &n);
    if (*out == NULL || strlen(*out) != n)
        return vc_fail(err, VC_ERR_FORMAT, "%s: '%s' is not a string", what, key);
    return true;
}

static bool parse_columns(MdsSchema *out, const VcJson *json, const char *what, VcErr *err)
{
    VcJson *names, *encodings, *sizes;
    if (!get_list(json, "column_names", &names, what, err) ||
        !get_list(json, "column_encodings", &encodings, what, err) ||
        !get_list(json, "column_sizes", &sizes, what, err))
        return false;
    size_t n = vc_json_length(names);
    if (vc_json_length(encodings) != n || vc_json_length(sizes) != n) {
        return vc_fail(err, VC_ERR_FORMAT, "%s: %zu column names, %zu encodings and %zu sizes", what, n,
                       vc_json_length(encodings), vc_json_length(sizes));
    }
    if (n == 0 || n > MDS_MAX_COLUMNS)
        return vc_fail(err, VC_ERR_LIMIT, "%s: %zu columns; a set has 1 to %d", what, n, (int)MDS_MAX_COLUMNS);
    const char *name[MDS_MAX_COLUMNS], *encoding[MDS_MAX_COLUMNS];
    for (size_t i = 0; i < n; i++) {
        if (!get_text(vc_json_item(names, i), &name[i], "column_names", what, err) ||
            !get_text(vc_json_item(encodings, i), &encoding[i], "column_encodings", what, err))
            return false;
    }
    if (!mds_schema_make(out, name, encoding, n, err))
        return vc_prefix(err, "%s", what);
    for (size_t i = 0; i < n; i++) {
        const VcJson *size = vc_json_item(sizes, i);
        uint64_t expected = out->columns[i].form.size;
        if (expected == 0 ? !vc_json_is_null(size) : vc_json_int(size, -1) != (int64_t)expected) {
            vc_fail(err, VC_ERR_FORMAT, "%s: the size of column '%s' contradicts its encoding '%s'", what, name[i],
                    encoding[i]);
            mds_schema_finish(out);
            return false;
        }
    }
    return true;
}

// At most one '/', relative, no "..": nothing outside the folder of the set can be named.
static bool check_basename(const char *name, const char *what, VcErr *err)
{
    const char *slash = strchr(name, '/');
    size_t first = slash != NULL ? (size_t)(slash - name) : strlen(name);
    const char *last = slash != NULL ? slash + 1 : name;
    bool dots = (first <= 2 && strspn(name, ".") >= first) || strcmp(last, ".") == 0 || strcmp(last, "..") == 0;
    if (first == 0 || *last == 0 || dots || strchr(last, '/') != NULL || strlen(name) > 255)
        return vc_fail(err, VC_ERR_FORMAT, "%s: basename '%.100s' is not a file in the set's folder", what, name);
    return true;
}

static bool copy_hex(char *out, size_t digits, const char *hex, const char *algorithm, const char *what, VcErr *err)
{
    if (strlen(hex) != digits || strspn(hex, "0123456789abcdef") != digits) {
        return vc_fail(err, VC_ERR_FORMAT, "%s: '%.80s' is not a %s of %zu lower-case digits", what, hex, algorithm,
                       digits);
    }
    memcpy(out, hex, digits + 1);
    return true;
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

enum { MAX_HASHES = 32 };

static bool parse_hashes(MdsFile *f, const VcJson *json, const VcJson *algorithms, const char *what, VcErr *err)
{
    const char *keys[MAX_HASHES], *key;
    size_t count = 0;
    void *iter = NULL;
    VcJson *value;
    while (vc_json_next_member(json, &iter, &key, &value)) {
        if (count == MAX_HASHES)
            return vc_fail(err, VC_ERR_LIMIT, "%s: more than %d hashes", what, (int)MAX_HASHES);
        keys[count++] = key;
    }
    for (size_t i = 0; i < vc_json_length(algorithms); i++) {
        if (vc_json_member(json, vc_json_string(vc_json_item(algorithms, i), NULL)) == NULL) {
            return vc_fail(err, VC_ERR_FORMAT, "%s: missing key '%.40s' in 'hashes'", what,
                           vc_json_string(vc_json_item(algorithms, i), NULL));
        }
    }
    qsort(keys, count, sizeof *keys, compare_text);
    VcStr text = {0};
    vc_str_putc(&text, '{');
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++) {
        const char *hex;
        ok = get_text(vc_json_member(json, keys[i]), &hex, keys[i], what, err);
        if (ok && strcmp(keys[i], "sha1") == 0) {
            ok = copy_hex(f->sha1, 40, hex, "sha1", what, err);
        } else if (ok && strcmp(keys[i], "xxh64") == 0) {
            ok = copy_hex(f->xxh64, 16, hex, "xxh64", what, err);
        }
        if (!ok)
            break;
        vc_str_put(&text, i > 0 ? ", " : "");
        vc_str_put_json(&text, keys[i], strlen(keys[i]), true);
        vc_str_put(&text, ": ");
        vc_str_put_json(&text, hex, strlen(hex), true);
    }
    vc_str_putc(&text, '}');
    if (ok)
        f->hashes_json = vc_strdup(vc_str_get(&text));
    vc_str_finish(&text);
    return ok;
}

static bool parse_file(MdsFile *f, const VcJson *json, const VcJson *algorithms, const char *what, VcErr *err)
{
    const char *basename;
    int64_t bytes;
    VcJson *hashes, *name;
    if (!vc_json_is_object(json))
        return vc_fail(err, VC_ERR_FORMAT, "%s: not an object", what);
    if (!get_member(json, "basename", &name, what, err) || !get_text(name, &basename, "basename", what, err) ||
        !check_basename(basename, what, err) || !vc_json_get_int(json, "bytes", &bytes, what, err) ||
        !get_member(json, "hashes", &hashes, what, err))
        return false;
    if (bytes < 0 || bytes > UINT32_MAX) // offsets inside a shard are 32-bit
        return vc_fail(err, VC_ERR_FORMAT, "%s: 'bytes' is %lld; a shard stays below 4 GiB", what, (long long)bytes);
    if (!vc_json_is_object(hashes))
        return vc_fail(err, VC_ERR_FORMAT, "%s: 'hashes' is not an object", what);
    f->basename = vc_strdup(basename);
    f->bytes = (uint64_t)bytes;
    return parse_hashes(f, hashes, algorithms, what, err);
}

// The sorted list of algorithm names.
static bool parse_algorithms(MdsEntry *e, const VcJson *list, const char *what, VcErr *err)
{
    VcStr text = {0};
    const char *earlier = NULL, *name;
    vc_str_putc(&text, '[');
    bool ok = true;
    for (size_t i = 0; i < vc_json_length(list) && ok; i++) {
        ok = get_text(vc_json_item(list, i), &name, "hashes", what, err);
        if (ok && earlier != NULL && strcmp(earlier, name) >= 0)
            ok = vc_fail(err, VC_ERR_FORMAT, "%s: 'hashes' is not sorted", what);
        if (ok) {
            vc_str_put(&text, i > 0 ? ", " : "");
            vc_str_put_json(&text, name, strlen(name), true);
        }
        earlier = ok ? name : NULL;
    }
    vc_str_putc(&text, ']');
    if (ok)
        e->hashes_json = vc_strdup(vc_str_get(&text));
    vc_str_finish(&text);
    return ok;
}

static bool parse_entry(MdsEntry *e, const VcJson *json, const char *what, VcErr *err)
{
    VcJson *compression, *algorithms, *raw, *zip, *limit;
    const char *format;
    int64_t version, samples;
    if (!vc_json_is_object(json))
        return vc_fail(err, VC_ERR_FORMAT, "%s: not an object", what);
    if (!vc_json_get_int(json, "version", &version, what, err) ||
        !vc_json_get_string(json, "format", &format, what, err))
        return false;
    if (version != 2 || strcmp(format, "mds") != 0) {
        return vc_fail(err, VC_ERR_FORMAT, "%s: format '%.40s' version %lld; this program reads 'mds' version 2", what,
                       format, (long long)version);
    }
    if (!parse_columns(&e->schema, json, what, err) || !get_member(json, "compression", &compression, what, err) ||
        !get_list(json, "hashes", &algorithms, what, err) || !parse_algorithms(e, algorithms, what, err) ||
        !get_member(json, "raw_data", &raw, what, err) || !get_member(json, "zip_data", &zip, what, err) ||
        !get_member(json, "size_limit", &limit, what, err) || !vc_json_get_int(json, "samples", &samples, what, err))
        return false;
    if (!parse_file(&e->raw, raw, algorithms, what, err))
        return vc_prefix(err, "raw_data");
    if (!vc_json_is_null(zip) && !parse_file(&e->zip, zip, algorithms, what, err))
        return vc_prefix(err, "zip_data");
    if (!vc_json_is_null(compression)) {
        const char *name;
        if (!get_text(compression, &name, "compression", what, err))
            return false;
        e->compression = vc_strdup(name);
    }
    if ((e->compression == NULL) != (e->zip.basename == NULL))
        return vc_fail(err, VC_ERR_FORMAT, "%s: 'compression' and 'zip_data' contradict each other", what);
    if (samples < 1 || (uint64_t)samples > max_samples)
        return vc_fail(err, VC_ERR_FORMAT, "%s: 'samples' is %lld", what, (long long)samples);
    int64_t size_limit = vc_json_is_null(limit) ? 0 : vc_json_int(limit, -1);
    if (size_limit < 0)
        return vc_fail(err, VC_ERR_FORMAT, "%s: 'size_limit' is neither a size nor null", what);
    e->samples = (uint64_t)samples;
    e->size_limit = (uint64_t)size_limit;
    return true;
}

bool mds_entry_parse(MdsEntry *out, const VcJson *json, const char *what, VcErr *err)
{
    MdsEntry e = {0};
    if (!parse_entry(&e, json, what, err)) {
        mds_entry_finish(&e);
        return false;
    }
    *out = e;
    return true;
}

static bool check_own_block(const MdsIndex *index, const VcJson *own, const char *what, VcErr *err)
{
    int64_t set, total;
    const char *fingerprint;
    if (own == NULL)
        return true;
    if (!vc_json_get_int(own, "set", &set, what, err) || !vc_json_get_int(own, "total", &total, what, err) ||
        !vc_json_get_string(own, "fingerprint", &fingerprint, what, err))
        return false;
    if (set != 1) {
        return vc_fail(err, VC_ERR_FORMAT, "'%s': written by a newer vicha (set format %lld, this program knows 1)",
                       what, (long long)set);
    }
    if ((uint64_t)total != index->total || strcmp(fingerprint, index->fingerprint) != 0)
        return vc_fail(err, VC_ERR_FORMAT, "'%s': total or fingerprint under 'x_vc' is not that of the shards", what);
    return true;
}

static bool parse_index(MdsIndex *index, const VcJson *json, const char *what, VcErr *err)
{
    VcJson *shards;
    int64_t version;
    if (!vc_json_is_object(json))
        return vc_fail(err, VC_ERR_FORMAT, "'%s': not an object", what);
    if (!vc_json_get_int(json, "version", &version, what, err))
        return false;
    if (version != 2) {
        return vc_fail(err, VC_ERR_FORMAT, "'%s': version %lld; this program reads version 2", what,
                       (long long)version);
    }
    if (!get_list(json, "shards", &shards, what, err))
        return false;
    size_t n = vc_json_length(shards);
    index->entries = vc_calloc(n + 1, sizeof *index->entries);
    while (index->count < n) {
        char where[300];
        MdsEntry *e = &index->entries[index->count];
        snprintf(where, sizeof where, "'%.200s' shard %zu", what, index->count);
        if (!mds_entry_parse(e, vc_json_item(shards, index->count), where, err))
            return false;
        index->count++; // it is the index's to release from here on
        index->total += e->samples;
        if (index->total > max_samples)
            return vc_fail(err, VC_ERR_LIMIT, "'%s': more than 2^40 records", what);
    }
    mds_index_fingerprint(index, index->fingerprint);
    return check_own_block(index, vc_json_member(json, "x_vc"), what, err);
}

bool mds_index_parse(MdsIndex *out, const char *text, size_t n, const char *what, VcErr *err)
{
    VcJson *json;
    if (!vc_json_parse(&json, text, n, what, err))
        return false;
    MdsIndex index = {0};
    bool ok = parse_index(&index, json, what, err);
    vc_json_destroy(&json);
    if (ok) {
        *out = index;
    } else {
        mds_index_finish(&index);
    }
    return ok;
}

static void put_string(VcStr *out, const char *text)
{
    if (text == NULL) {
        vc_str_put(out, "null");
    } else {
        vc_str_put_json(out, text, strlen(text), true);
    }
}

static void put_number(VcStr *out, const char *key, uint64_t value)
{
    if (value == 0) {
        vc_str_putf(out, ", \"%s\": null", key);
    } else {
        vc_str_putf(out, ", \"%s\": %llu", key, (unsigned long long)value);
    }
}

static void put_columns(VcStr *out, const MdsSchema *s)
{
    vc_str_put(out, "\"column_encodings\": [");
    for (size_t i = 0; i < s->count; i++) {
        vc_str_put(out, i > 0 ? ", " : "");
        put_string(out, s->columns[i].encoding);
    }
    vc_str_put(out, "], \"column_names\": [");
    for (size_t i = 0; i < s->count; i++) {
        vc_str_put(out, i > 0 ? ", " : "");
        put_string(out, s->columns[i].name);
    }
    vc_str_put(out, "], \"column_sizes\": [");
    for (size_t i = 0; i < s->count; i++) {
        vc_str_put(out, i > 0 ? ", " : "");
        if (s->columns[i].form.size == 0) {
            vc_str_put(out, "null");
        } else {
            vc_str_putf(out, "%llu", (unsigned long long)s->columns[i].form.size);
        }
    }
    vc_str_putc(out, ']');
}

static void put_head(VcStr *out, const MdsEntry *e)
{
    vc_str_putc(out, '{');
    put_columns(out, &e->schema);
    vc_str_put(out, ", \"compression\": ");
    put_string(out, e->compression);
    vc_str_putf(out, ", \"format\": \"mds\", \"hashes\": %s", e->hashes_json);
}

static void put_file(VcStr *out, const char *key, const MdsFile *f)
{
    vc_str_putf(out, ", \"%s\": ", key);
    if (f->basename == NULL) {
        vc_str_put(out, "null");
        return;
    }
    vc_str_put(out, "{\"basename\": ");
    put_string(out, f->basename);
    vc_str_putf(out, ", \"bytes\": %llu, \"hashes\": %s}", (unsigned long long)f->bytes, f->hashes_json);
}

void mds_entry_put(VcStr *out, const MdsEntry *e)
{
    put_head(out, e);
    put_file(out, "raw_data", &e->raw);
    vc_str_putf(out, ", \"samples\": %llu", (unsigned long long)e->samples);
    put_number(out, "size_limit", e->size_limit);
    vc_str_put(out, ", \"version\": 2");
    put_file(out, "zip_data", &e->zip);
    vc_str_putc(out, '}');
}

void mds_config_put(VcStr *out, const MdsEntry *e)
{
    put_head(out, e);
    put_number(out, "size_limit", e->size_limit);
    vc_str_put(out, ", \"version\": 2}");
}

void mds_index_put(VcStr *out, const MdsIndex *index)
{
    char fingerprint[65];
    mds_index_fingerprint(index, fingerprint);
    uint64_t total = 0;
    vc_str_put(out, "{\"shards\": [");
    for (size_t i = 0; i < index->count; i++) {
        vc_str_put(out, i > 0 ? ", " : "");
        mds_entry_put(out, &index->entries[i]);
        total += index->entries[i].samples;
    }
    vc_str_putf(out, "], \"version\": 2, \"x_vc\": {\"fingerprint\": \"%s\", \"set\": 1, \"total\": %llu}}",
                fingerprint, (unsigned long long)total);
}

bool mds_config_check(const MdsEntry *entry, const char *text, size_t n, VcErr *err)
{
    VcJson *json;
    MdsSchema schema = {0};
    if (!vc_json_parse(&json, text, n, "the configuration in the shard", err))
        return false;
    bool ok = vc_json_is_object(json) ? parse_columns(&schema, json, "the configuration in the shard", err)
                                      : vc_fail(err, VC_ERR_FORMAT, "the configuration in the shard is not an object");
    if (ok && !mds_schema_equal(&schema, &entry->schema))
        ok = vc_fail(err, VC_ERR_FORMAT, "the configuration in the shard names other columns than index.json");
    mds_schema_finish(&schema);
    vc_json_destroy(&json);
    return ok;
}

void mds_index_fingerprint(const MdsIndex *index, char out[65])
{
    VcSha256 *s = vc_sha256_begin();
    for (size_t i = 0; i < index->count; i++) {
        const MdsEntry *e = &index->entries[i];
        if (e->raw.sha1[0] != 0) {
            vc_sha256_add(s, e->raw.sha1, 40);
            continue;
        }
        VcStr text = {0};
        vc_str_putf(&text, "%s:%llu:%llu:%s", e->raw.basename, (unsigned long long)e->raw.bytes,
                    (unsigned long long)e->samples, e->raw.hashes_json);
        vc_sha256_add(s, text.data, text.len);
        vc_str_finish(&text);
    }
    uint8_t digest[32];
    vc_sha256_end(&s, digest);
    vc_hex(digest, sizeof digest, out);
}
