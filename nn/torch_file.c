// SPDX-License-Identifier: MIT
// Layout of the archive: https://docs.pytorch.org/docs/stable/notes/serialization.html. NAME/data.pkl is the pickle,
// NAME/data/KEY the bytes of a storage, NAME/byteorder "little"; the rest is of no use here.
#include "nn/torch_file.h"

#include "base/str.h"
#include "nn/pickle.h"
#include "nn/safetensors_private.h"
#include "nn/zip.h"

#include <inttypes.h>

enum {
    MAX_DEPTH = 16,        // of dicts and lists around a tensor
    FREE_VISITS = 4096,    // values looked at beyond 4 for each there is: a list may stand in many places
    MAX_NAME = 1000,       // bytes
    FREE_COPIES = 1 << 20, // bytes that tensors out of order may take in any file
};

typedef struct {
    NnSafetensors *st;
    NnShard *shard;
    NnZip zip;
    NnPickle pickle;
    VcStr root; // name of the archive's folder with its '/'
    VcStr name; // of the value that is looked at
    size_t visits, first;
    size_t copied; // bytes
    VcErr *err;
} Reader;

// ---- one tensor ----

static bool bad_tensor(const Reader *r, const char *what)
{
    return vc_fail(r->err, VC_ERR_FORMAT, "'%s': tensor '%.200s': %s", r->shard->path, vc_str_get(&r->name), what);
}

static const NnPickleValue *item(const Reader *r, const NnPickleValue *container, size_t i)
{
    return &r->pickle.values[container->items[i]];
}

static bool refuse_compressed(const Reader *r, const NnZipEntry *entry)
{
    return vc_fail(r->err, VC_ERR_FORMAT,
                   "'%s': entry '%.200s' is compressed or encrypted; PyTorch stores weights as they are: save the file "
                   "again with torch.save",
                   r->shard->path, entry->name);
}

// Bytes of the storage, and how many there are.
static bool find_storage(Reader *r, const NnPickleValue *storage, const uint8_t **data, size_t *size)
{
    const NnPickleValue *key = item(r, storage, 0);
    const int64_t elements = item(r, storage, 1)->integer;
    VcStr name = {0};
    vc_str_putf(&name, "%sdata/", r->root.data);
    vc_str_putn(&name, key->text, key->count);
    const NnZipEntry *entry = nn_zip_find(&r->zip, name.data);
    vc_str_finish(&name);
    if (entry == NULL)
        return bad_tensor(r, "its bytes are not in the archive");
    if (entry->data == NULL)
        return refuse_compressed(r, entry);
    size_t bytes;
    if (elements < 0 || !vc_mul_size((size_t)elements, nn_dtype_size((NnDtype)storage->dtype), &bytes) ||
        bytes > entry->size) {
        return vc_fail(r->err, VC_ERR_FORMAT,
                       "'%s': tensor '%.200s': a storage of %" PRId64
                       " elements, but the archive holds %zu bytes of it",
                       r->shard->path, vc_str_get(&r->name), elements, entry->size);
    }
    *data = entry->data;
    *size = bytes;
    return true;
}

// Sizes and strides (in elements), and one more than the last element's place (0: no elements).
static bool read_layout(Reader *r, const NnPickleValue *tensor, NnShape *shape, size_t stride[NN_MAX_RANK], size_t *end)
{
    const NnPickleValue *sizes = item(r, tensor, 2), *strides = item(r, tensor, 3);
    if (sizes->count > NN_MAX_RANK) {
        return vc_fail(r->err, VC_ERR_LIMIT, "'%s': tensor '%.200s': %u dimensions, at most %d are supported",
                       r->shard->path, vc_str_get(&r->name), sizes->count, NN_MAX_RANK);
    }
    if (sizes->count != strides->count)
        return bad_tensor(r, "its sizes and strides do not fit each other");
    *shape = (NnShape){.rank = sizes->count};
    bool empty = false;
    for (size_t i = 0; i < shape->rank; i++) {
        const NnPickleValue *d = item(r, sizes, i), *s = item(r, strides, i);
        if (d->kind != NN_PICKLE_INT || s->kind != NN_PICKLE_INT || d->integer < 0 || s->integer < 0)
            return bad_tensor(r, "a size or a stride that is none");
        shape->dim[i] = (size_t)d->integer;
        stride[i] = (size_t)s->integer;
        empty = empty || d->integer == 0;
    }
    *end = empty ? 0 : 1;
    for (size_t i = 0; i < shape->rank && !empty; i++) {
        size_t reach;
        if (!vc_mul_size(shape->dim[i] - 1, stride[i], &reach) || !vc_add_size(*end, reach, end))
            return bad_tensor(r, "its strides reach further than memory");
    }
    return true;
}

static bool is_row_major(const NnShape *shape, const size_t stride[NN_MAX_RANK])
{
    size_t expected = 1;
    for (size_t i = shape->rank; i-- > 0;) {
        if (shape->dim[i] != 1 && stride[i] != expected)
            return false;
        expected *= shape->dim[i]; // the product fits: it was counted
    }
    return true;
}

// out[elements] in row-major order from strided data; element sizes are 1, 2, 4 or 8.
static void copy_strided(uint8_t *out, const uint8_t *data, const NnShape *shape, const size_t stride[NN_MAX_RANK],
                         size_t count, size_t element)
{
    size_t at[NN_MAX_RANK] = {0}, place = 0;
    for (size_t n = 0; n < count; n++) {
        memcpy(out + n * element, data + place * element, element);
        for (size_t i = shape->rank; i-- > 0;) {
            place += stride[i];
            if (++at[i] < shape->dim[i])
                break;
            place -= stride[i] * at[i];
            at[i] = 0;
        }
    }
}

static bool put_in_order(Reader *r, NnStored *t, const size_t stride[NN_MAX_RANK])
{
    const size_t most = r->shard->map.size > FREE_COPIES ? r->shard->map.size : FREE_COPIES;
    if (t->bytes > most - r->copied) {
        return vc_fail(
            r->err, VC_ERR_LIMIT,
            "'%s': tensor '%.200s' is a strided view, and such views together are larger than the file; save "
            "them with .contiguous()",
            r->shard->path, vc_str_get(&r->name));
    }
    r->copied += t->bytes;
    uint8_t *copy = vc_arena_alloc(r->shard->owned, t->bytes, 1);
    copy_strided(copy, t->data, &t->shape, stride, t->count, nn_dtype_size(t->dtype));
    t->data = copy;
    return true;
}

static bool read_tensor(Reader *r, const NnPickleValue *tensor)
{
    const uint8_t *data = NULL;
    size_t size = 0, stride[NN_MAX_RANK], end = 0, begin, last;
    const int64_t offset = item(r, tensor, 1)->integer;
    NnStored t = {.file = r->shard->path, .dtype = (NnDtype)tensor->dtype};
    const size_t element = nn_dtype_size(t.dtype);
    if (!find_storage(r, item(r, tensor, 0), &data, &size) || !read_layout(r, tensor, &t.shape, stride, &end))
        return false;
    if (!nn_shape_count(&t.shape, &t.count) || !nn_shape_bytes(&t.shape, t.dtype, &t.bytes))
        return bad_tensor(r, "it is larger than memory can address");
    if (offset < 0 || !vc_mul_size((size_t)offset, element, &begin) || !vc_add_size((size_t)offset, end, &last) ||
        !vc_mul_size(last, element, &last) || (end > 0 && last > size))
        return bad_tensor(r, "it reaches beyond its storage");
    t.data = end > 0 ? data + begin : data;
    if (end > 0 && !is_row_major(&t.shape, stride) && !put_in_order(r, &t, stride))
        return false;
    char *name = vc_arena_alloc(r->shard->owned, r->name.len + 1, 1);
    memcpy(name, vc_str_get(&r->name), r->name.len + 1);
    t.name = name;
    nn_stored_add(r->st, t);
    return true;
}

// ---- the dict of tensors ----

static bool is_container(const NnPickleValue *v)
{
    return v->kind == NN_PICKLE_DICT || v->kind == NN_PICKLE_LIST || v->kind == NN_PICKLE_TUPLE;
}

static bool holds_tensor(const Reader *r, const NnPickleValue *dict)
{
    for (size_t i = 1; i < dict->count; i += 2) {
        if (item(r, dict, i)->kind == NN_PICKLE_TENSOR)
            return true;
    }
    return false;
}

// The state dict in a checkpoint that holds more (an optimizer, arguments, an epoch).
static const NnPickleValue *find_state_dict(const Reader *r)
{
    static const char *const keys[] = {"state_dict", "model", "model_state_dict", "module"};
    const NnPickleValue *v = &r->pickle.values[r->pickle.root];
    for (int depth = 0; depth < MAX_DEPTH && v->kind == NN_PICKLE_DICT && !holds_tensor(r, v); depth++) {
        const NnPickleValue *inner = NULL;
        for (size_t k = 0; inner == NULL && k < sizeof keys / sizeof *keys; k++) {
            inner = nn_pickle_member(&r->pickle, v, keys[k]);
            if (inner != NULL && inner->kind != NN_PICKLE_DICT)
                inner = NULL;
        }
        if (inner == NULL)
            break;
        v = inner;
    }
    return v;
}

// Appends ".KEY"; false for a key that no name can hold.
static bool put_key(Reader *r, const NnPickleValue *key)
{
    if (r->name.len > 0)
        vc_str_putc(&r->name, '.');
    if (key->kind == NN_PICKLE_INT) {
        vc_str_putf(&r->name, "%" PRId64, key->integer);
        return true;
    }
    if (key->kind != NN_PICKLE_TEXT || memchr(key->text, 0, key->count) != NULL)
        return bad_tensor(r, "a member whose key is neither text nor a number");
    vc_str_putn(&r->name, key->text, key->count);
    return true;
}

static bool walk(Reader *r, const NnPickleValue *v, int depth)
{
    if (++r->visits > 4 * r->pickle.count + FREE_VISITS || depth > MAX_DEPTH || r->name.len > MAX_NAME) {
        return vc_fail(r->err, VC_ERR_LIMIT,
                       "'%s': containers in its pickle go too deep or repeat without end (at '%.200s')", r->shard->path,
                       vc_str_get(&r->name));
    }
    if (v->kind == NN_PICKLE_TENSOR)
        return read_tensor(r, v);
    if (!is_container(v))
        return true;
    const bool dict = v->kind == NN_PICKLE_DICT;
    const size_t length = r->name.len;
    for (size_t i = 0; i < v->count; i += dict ? 2 : 1) {
        const NnPickleValue *inner = item(r, v, dict ? i + 1 : i);
        if (inner->kind != NN_PICKLE_TENSOR && !is_container(inner)) {
            r->visits++;
            continue;
        }
        const NnPickleValue index = {.kind = NN_PICKLE_INT, .integer = (int64_t)i};
        if (!put_key(r, dict ? item(r, v, i) : &index) || !walk(r, inner, depth + 1))
            return false;
        r->name.len = length;
        r->name.data[length] = '\0';
    }
    return true;
}

// The wrapper of DataParallel puts "module." before every name.
static void drop_wrapper(Reader *r)
{
    static const char wrapper[] = "module.";
    NnSafetensors *st = r->st;
    for (size_t i = r->first; i < st->count; i++) {
        if (!vc_has_prefix(st->tensors[i].name, wrapper) || st->tensors[i].name[sizeof wrapper - 1] == '\0')
            return;
    }
    for (size_t i = r->first; i < st->count; i++)
        st->tensors[i].name += sizeof wrapper - 1;
}

// ---- the archive ----

static bool find_root(Reader *r)
{
    static const char pickle[] = "data.pkl";
    const char *path = r->shard->path;
    for (size_t i = 0; i < r->zip.count; i++) {
        const char *name = r->zip.entries[i].name, *slash = strchr(name, '/');
        if (slash == NULL || strcmp(slash + 1, pickle) != 0)
            continue;
        if (r->root.len > 0)
            return vc_fail(r->err, VC_ERR_FORMAT, "'%s' holds two checkpoints", path);
        vc_str_putn(&r->root, name, (size_t)(slash + 1 - name));
    }
    if (r->root.len == 0) {
        return vc_fail(r->err, VC_ERR_FORMAT, "'%s' is a zip archive, but no PyTorch checkpoint: it has no data.pkl",
                       path);
    }
    VcStr name = {0};
    vc_str_putf(&name, "%sconstants.pkl", r->root.data);
    const bool script = nn_zip_find(&r->zip, name.data) != NULL;
    vc_str_clear(&name);
    vc_str_putf(&name, "%sbyteorder", r->root.data);
    const NnZipEntry *order = nn_zip_find(&r->zip, name.data);
    const bool big =
        order != NULL && !(order->data != NULL && order->size == 6 && memcmp(order->data, "little", 6) == 0);
    vc_str_finish(&name);
    if (script) {
        return vc_fail(r->err, VC_ERR_FORMAT,
                       "'%s' is a TorchScript program, not a checkpoint: save its weights with "
                       "torch.save(torch.jit.load(FILE).state_dict(), \"weights.pth\")",
                       path);
    }
    if (big) {
        return vc_fail(r->err, VC_ERR_FORMAT, "'%s' was written on a big-endian machine: save it again on this one",
                       path);
    }
    return true;
}

static bool read_pickle(Reader *r)
{
    VcStr name = {0};
    vc_str_putf(&name, "%sdata.pkl", r->root.data);
    const NnZipEntry *entry = nn_zip_find(&r->zip, name.data);
    vc_str_finish(&name);
    VC_ASSERT(entry != NULL);
    if (entry->data == NULL)
        return refuse_compressed(r, entry);
    return nn_pickle_read(&r->pickle, entry->data, entry->size, r->shard->path, r->err);
}

static bool looks_zipped(const VcMap *map)
{
    return map->size >= 4 && memcmp(map->data, "PK\3\4", 4) == 0;
}

// What a file that is no archive is.
static bool refuse_file(const NnShard *s, VcErr *err)
{
    // Protocol 2, then the number that torch.save wrote before 1.6.
    static const uint8_t magic[] = {0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
    if (s->map.size >= sizeof magic && memcmp(s->map.data, magic, sizeof magic) == 0) {
        return vc_fail(err, VC_ERR_FORMAT,
                       "'%s' is a PyTorch checkpoint of the form before version 1.6, which is not read; save it again: "
                       "python -c 'import torch; torch.save(torch.load(\"%s\", map_location=\"cpu\", "
                       "weights_only=True), \"weights.pth\")'",
                       s->path, vc_path_base(s->path));
    }
    return vc_fail(err, VC_ERR_FORMAT, "'%s' is no PyTorch checkpoint: it is no zip archive", s->path);
}

static bool read_checkpoint(NnSafetensors *st, const char *path, VcErr *err)
{
    Reader r = {.st = st, .shard = nn_shard_add(st, path), .first = st->count, .err = err};
    if (!vc_map_open(&r.shard->map, path, err))
        return false;
    if (!looks_zipped(&r.shard->map))
        return refuse_file(r.shard, err);
    r.shard->owned = vc_arena_create("checkpoint");
    bool ok = nn_zip_open(&r.zip, r.shard->map.data, r.shard->map.size, path, err) && find_root(&r) && read_pickle(&r);
    if (ok) {
        const NnPickleValue *top = find_state_dict(&r);
        if (top->kind == NN_PICKLE_TENSOR)
            vc_str_put(&r.name, "tensor");
        ok = walk(&r, top, 0);
    }
    if (ok && st->count == r.first)
        ok = vc_fail(err, VC_ERR_FORMAT, "'%s' holds no tensors", path);
    if (ok)
        drop_wrapper(&r);
    nn_pickle_finish(&r.pickle);
    nn_zip_close(&r.zip);
    vc_str_finish(&r.root);
    vc_str_finish(&r.name);
    return ok;
}

bool nn_torch_open(NnSafetensors **out, const char *path, VcErr *err)
{
    return nn_set_open(out, path, read_checkpoint, err);
}

// ---- either format ----

static bool begins_as_torch(const char *path)
{
    uint8_t head[4] = {0};
    FILE *f = fopen(path, "rb");
    const size_t n = f != NULL ? fread(head, 1, sizeof head, f) : 0;
    if (f != NULL)
        fclose(f);
    // An archive, or a bare pickle of protocol 2 to 5: no safetensors header is that long.
    return n == 4 && (memcmp(head, "PK\3\4", 4) == 0 || (head[0] == 0x80 && head[1] >= 2 && head[1] <= 5));
}

bool nn_weights_open(NnSafetensors **out, const char *path, VcErr *err)
{
    const bool index = vc_has_suffix(path, ".index.json");
    const bool torch = index ? vc_has_suffix(path, ".bin.index.json") : begins_as_torch(path);
    return torch ? nn_torch_open(out, path, err) : nn_safetensors_open(out, path, err);
}

char *nn_weights_find(const char *dir, const char *stem, const char *torch_stem)
{
    static const char *const endings[] = {".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json"};
    VcStr path = {0};
    for (int i = 0; i < 4; i++) {
        vc_str_clear(&path);
        vc_str_putf(&path, "%s/%s%s", dir, i < 2 ? stem : torch_stem, endings[i]);
        if (vc_exists(path.data))
            return path.data;
    }
    vc_str_finish(&path);
    return NULL;
}

bool nn_weights_open_dir(NnSafetensors **out, const char *dir, const char *stem, const char *torch_stem, VcErr *err)
{
    char *path = nn_weights_find(dir, stem, torch_stem);
    if (path == NULL) {
        return vc_fail(err, VC_ERR_IO,
                       "'%s' holds no weights: neither '%s.safetensors' nor '%s.bin' (nor an index of shards) is there",
                       dir, stem, torch_stem);
    }
    const bool ok = nn_weights_open(out, path, err);
    free(path);
    return ok;
}
