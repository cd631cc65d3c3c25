// SPDX-License-Identifier: MIT
// What names mean, and the calls a weight file makes.
#include "nn/pickle_private.h"

#include "base/mem.h"
#include "base/str.h"

#include <string.h>

typedef enum { DICT_CLASS, STORAGE_CLASS, UNTYPED_CLASS, DTYPE_VALUE, REBUILD_2, REBUILD_3, PARAMETER } Meaning;

static const struct {
    const char *module, *name;
    Meaning meaning;
    NnDtype dtype;
} names[] = {
    {"collections", "OrderedDict", DICT_CLASS, NN_U8},
    {"torch._utils", "_rebuild_tensor_v2", REBUILD_2, NN_U8},
    {"torch._utils", "_rebuild_tensor_v3", REBUILD_3, NN_U8},
    {"torch._utils", "_rebuild_parameter", PARAMETER, NN_U8},
    {"torch", "FloatStorage", STORAGE_CLASS, NN_F32},
    {"torch", "HalfStorage", STORAGE_CLASS, NN_F16},
    {"torch", "BFloat16Storage", STORAGE_CLASS, NN_BF16},
    {"torch", "DoubleStorage", STORAGE_CLASS, NN_F64},
    {"torch", "IntStorage", STORAGE_CLASS, NN_I32},
    {"torch", "LongStorage", STORAGE_CLASS, NN_I64},
    {"torch", "ShortStorage", STORAGE_CLASS, NN_I16},
    {"torch", "CharStorage", STORAGE_CLASS, NN_I8},
    {"torch", "ByteStorage", STORAGE_CLASS, NN_U8},
    {"torch", "BoolStorage", STORAGE_CLASS, NN_BOOL},
    {"torch.storage", "UntypedStorage", UNTYPED_CLASS, NN_U8},
    {"torch", "float32", DTYPE_VALUE, NN_F32},
    {"torch", "float16", DTYPE_VALUE, NN_F16},
    {"torch", "bfloat16", DTYPE_VALUE, NN_BF16},
    {"torch", "float64", DTYPE_VALUE, NN_F64},
    {"torch", "int32", DTYPE_VALUE, NN_I32},
    {"torch", "int64", DTYPE_VALUE, NN_I64},
    {"torch", "int16", DTYPE_VALUE, NN_I16},
    {"torch", "int8", DTYPE_VALUE, NN_I8},
    {"torch", "uint8", DTYPE_VALUE, NN_U8},
    {"torch", "uint16", DTYPE_VALUE, NN_U16},
    {"torch", "uint32", DTYPE_VALUE, NN_U32},
    {"torch", "uint64", DTYPE_VALUE, NN_U64},
    {"torch", "bool", DTYPE_VALUE, NN_BOOL},
};

static NnPickleValue *value(NnPickleMachine *m, uint32_t index)
{
    return &m->out->values[index];
}

bool nn_pickle_push_name(NnPickleMachine *m, const char *module, size_t module_n, const char *name, size_t name_n)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i].module) == module_n && memcmp(names[i].module, module, module_n) == 0 &&
            strlen(names[i].name) == name_n && memcmp(names[i].name, name, name_n) == 0) {
            return nn_pickle_push_new(
                m, (NnPickleValue){.kind = NN_PICKLE_NAME, .name = (uint8_t)i, .dtype = (uint8_t)names[i].dtype});
        }
    }
    VcStr full = {0};
    vc_utf8_repair(&full, module, module_n < 150 ? module_n : 150);
    vc_str_putc(&full, '.');
    vc_utf8_repair(&full, name, name_n < 150 ? name_n : 150);
    for (size_t i = 0; i < full.len; i++) // on a terminal a name is a name
        full.data[i] = (unsigned char)full.data[i] < 0x20 || full.data[i] == 0x7f ? '?' : full.data[i];
    nn_pickle_refuse(m, full.data);
    vc_str_finish(&full);
    return false;
}

bool nn_pickle_global(NnPickleMachine *m)
{
    const char *module = NULL, *name = NULL;
    size_t module_n = 0, name_n = 0;
    return nn_pickle_take_line(m, &module, &module_n) && nn_pickle_take_line(m, &name, &name_n) &&
           nn_pickle_push_name(m, module, module_n, name, name_n);
}

bool nn_pickle_stack_global(NnPickleMachine *m)
{
    uint32_t name = 0, module = 0;
    if (!nn_pickle_pop(m, &name) || !nn_pickle_pop(m, &module))
        return false;
    const NnPickleValue *n = value(m, name), *mod = value(m, module);
    if (n->kind != NN_PICKLE_TEXT || mod->kind != NN_PICKLE_TEXT)
        return nn_pickle_broken(m, "a name that is no text");
    return nn_pickle_push_name(m, mod->text, mod->count, n->text, n->count);
}

static const NnPickleValue *item(NnPickleMachine *m, const NnPickleValue *container, size_t i, NnPickleKind kind)
{
    if (i >= container->count)
        return NULL;
    const NnPickleValue *v = value(m, container->items[i]);
    return v->kind == kind ? v : NULL;
}

// _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata]); v3: a dtype after the hooks.
static bool rebuild_tensor(NnPickleMachine *m, const NnPickleValue *args, bool v3)
{
    const NnPickleValue *storage = item(m, args, 0, NN_PICKLE_STORAGE), *dtype = item(m, args, 6, NN_PICKLE_NAME);
    if (storage == NULL || item(m, args, 1, NN_PICKLE_INT) == NULL || item(m, args, 2, NN_PICKLE_TUPLE) == NULL ||
        item(m, args, 3, NN_PICKLE_TUPLE) == NULL)
        return nn_pickle_broken(m, "a tensor with arguments that are none");
    if (v3 && (dtype == NULL || names[dtype->name].meaning != DTYPE_VALUE))
        return nn_pickle_broken(m, "a tensor with a type that is none");
    return nn_pickle_push_items(
        m, (NnPickleValue){.kind = NN_PICKLE_TENSOR, .dtype = v3 ? dtype->dtype : storage->dtype}, args->items, 4);
}

bool nn_pickle_reduce(NnPickleMachine *m)
{
    uint32_t args_at = 0, callee_at = 0;
    if (!nn_pickle_pop(m, &args_at) || !nn_pickle_pop(m, &callee_at))
        return false;
    const NnPickleValue *args = value(m, args_at), *callee = value(m, callee_at);
    if (callee->kind != NN_PICKLE_NAME || args->kind != NN_PICKLE_TUPLE)
        return nn_pickle_broken(m, "a call of something that is no function");
    switch (names[callee->name].meaning) {
    case DICT_CLASS:
        if (args->count != 0)
            return nn_pickle_broken(m, "an OrderedDict made from arguments");
        return nn_pickle_push_new(m, (NnPickleValue){.kind = NN_PICKLE_DICT});
    case REBUILD_2:
        return rebuild_tensor(m, args, false);
    case REBUILD_3:
        return rebuild_tensor(m, args, true);
    case PARAMETER:
        if (item(m, args, 0, NN_PICKLE_TENSOR) == NULL)
            return nn_pickle_broken(m, "a parameter that holds no tensor");
        return nn_pickle_push(m, args->items[0]);
    default: {
        VcStr name = {0};
        vc_str_putf(&name, "%s.%s(...)", names[callee->name].module, names[callee->name].name);
        nn_pickle_refuse(m, name.data);
        vc_str_finish(&name);
        return false;
    }
    }
}

// ('storage', class, key, device, elements)
bool nn_pickle_persistent(NnPickleMachine *m)
{
    uint32_t at = 0;
    if (!nn_pickle_pop(m, &at))
        return false;
    const NnPickleValue *id = value(m, at);
    if (id->kind != NN_PICKLE_TUPLE)
        return nn_pickle_broken(m, "a persistent id that is no tuple");
    const NnPickleValue *tag = item(m, id, 0, NN_PICKLE_TEXT), *class = item(m, id, 1, NN_PICKLE_NAME);
    if (tag == NULL || tag->count != 7 || memcmp(tag->text, "storage", 7) != 0)
        return nn_pickle_broken(m, "a persistent id of something other than a storage");
    if (class == NULL || (names[class->name].meaning != STORAGE_CLASS && names[class->name].meaning != UNTYPED_CLASS))
        return nn_pickle_broken(m, "a storage of a class that is none");
    if (item(m, id, 2, NN_PICKLE_TEXT) == NULL || item(m, id, 4, NN_PICKLE_INT) == NULL)
        return nn_pickle_broken(m, "a storage without a key or a size");
    const uint32_t items[2] = {id->items[2], id->items[4]};
    return nn_pickle_push_items(m, (NnPickleValue){.kind = NN_PICKLE_STORAGE, .dtype = class->dtype}, items, 2);
}
