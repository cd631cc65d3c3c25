// SPDX-License-Identifier: MIT
// Opcodes: https://docs.python.org/3/library/pickletools.html and PEP 3154, PEP 574.
#include "nn/pickle_private.h"

#include "base/mem.h"
#include "base/str.h"

#include <string.h>

// Operations that a weight file uses, by Python's names for them.
enum {
    OP_MARK = '(',
    OP_STOP = '.',
    OP_POP = '0',
    OP_POP_MARK = '1',
    OP_DUP = '2',
    OP_BINFLOAT = 'G',
    OP_BININT = 'J',
    OP_BININT1 = 'K',
    OP_BININT2 = 'M',
    OP_NONE = 'N',
    OP_BINPERSID = 'Q',
    OP_REDUCE = 'R',
    OP_BINUNICODE = 'X',
    OP_APPEND = 'a',
    OP_BUILD = 'b',
    OP_GLOBAL = 'c',
    OP_APPENDS = 'e',
    OP_BINGET = 'h',
    OP_INST = 'i',
    OP_LONG_BINGET = 'j',
    OP_LIST = 'l',
    OP_BINPUT = 'q',
    OP_LONG_BINPUT = 'r',
    OP_SETITEM = 's',
    OP_TUPLE = 't',
    OP_SETITEMS = 'u',
    OP_EMPTY_DICT = '}',
    OP_EMPTY_LIST = ']',
    OP_EMPTY_TUPLE = ')',
    OP_PROTO = 0x80,
    OP_TUPLE1 = 0x85,
    OP_TUPLE2 = 0x86,
    OP_TUPLE3 = 0x87,
    OP_NEWTRUE = 0x88,
    OP_NEWFALSE = 0x89,
    OP_LONG1 = 0x8a,
    OP_LONG4 = 0x8b,
    OP_SHORT_BINUNICODE = 0x8c,
    OP_BINUNICODE8 = 0x8d,
    OP_STACK_GLOBAL = 0x93,
    OP_MEMOIZE = 0x94,
    OP_FRAME = 0x95,
};

bool nn_pickle_broken(NnPickleMachine *m, const char *what)
{
    return vc_fail(m->err, VC_ERR_FORMAT, "'%s': its pickle is broken at byte %zu: %s", m->path,
                   (size_t)(m->at - m->data), what);
}

bool nn_pickle_refuse(NnPickleMachine *m, const char *name)
{
    return vc_fail(
        m->err, VC_ERR_FORMAT,
        "'%s' refuses '%.300s' in its pickle: only tensors, numbers, text and plain containers are read, and "
        "no code is run. If you trust the file, save its tensors alone: torch.save(model.state_dict(), "
        "\"weights.pth\")",
        m->path, name);
}

bool nn_pickle_too_large(NnPickleMachine *m)
{
    return vc_fail(m->err, VC_ERR_LIMIT, "'%s': its pickle makes more than %d values", m->path, NN_PICKLE_MAX_VALUES);
}

// ---- values and the stack ----

bool nn_pickle_push(NnPickleMachine *m, uint32_t value)
{
    if (m->depth >= NN_PICKLE_MAX_VALUES)
        return nn_pickle_too_large(m);
    m->stack = vc_grow(m->stack, &m->stack_cap, m->depth + 1, sizeof *m->stack);
    m->stack[m->depth++] = value;
    return true;
}

bool nn_pickle_push_new(NnPickleMachine *m, NnPickleValue value)
{
    if (m->out->count >= NN_PICKLE_MAX_VALUES || m->depth >= NN_PICKLE_MAX_VALUES) // nothing is kept on failure
        return nn_pickle_too_large(m);
    m->out->values = vc_grow(m->out->values, &m->out->cap, m->out->count + 1, sizeof *m->out->values);
    m->out->values[m->out->count] = value;
    return nn_pickle_push(m, (uint32_t)m->out->count++);
}

static bool push_int(NnPickleMachine *m, int64_t n)
{
    return nn_pickle_push_new(m, (NnPickleValue){.kind = NN_PICKLE_INT, .integer = n});
}

static NnPickleValue *value(NnPickleMachine *m, uint32_t index)
{
    return &m->out->values[index];
}

// The lowest place of the stack that belongs to the part above the last mark.
static size_t floor_of(const NnPickleMachine *m)
{
    return m->mark_count > 0 ? m->marks[m->mark_count - 1] : 0;
}

bool nn_pickle_pop(NnPickleMachine *m, uint32_t *index)
{
    if (m->depth <= floor_of(m))
        return nn_pickle_broken(m, "the stack is empty");
    *index = m->stack[--m->depth];
    return true;
}

static NnPickleValue *top(NnPickleMachine *m)
{
    return m->depth > floor_of(m) ? value(m, m->stack[m->depth - 1]) : NULL;
}

// Takes the last mark away; *first: the place of what was pushed after it.
static bool unmark(NnPickleMachine *m, size_t *first)
{
    if (m->mark_count == 0)
        return nn_pickle_broken(m, "a mark is missing");
    *first = m->marks[--m->mark_count];
    return true;
}

static bool add_items(NnPickleMachine *m, NnPickleValue *container, const uint32_t *items, size_t n)
{
    m->references += n;
    if (m->references > NN_PICKLE_MAX_VALUES)
        return nn_pickle_too_large(m);
    size_t cap = container->cap;
    container->items = vc_grow(container->items, &cap, container->count + n, sizeof *items);
    container->cap = (uint32_t)cap;
    if (n > 0)
        memcpy(container->items + container->count, items, n * sizeof *items);
    container->count += (uint32_t)n;
    return true;
}

bool nn_pickle_push_items(NnPickleMachine *m, NnPickleValue made, const uint32_t *items, size_t n)
{
    made.items = NULL;
    made.count = made.cap = 0;
    if (!add_items(m, &made, items, n))
        return false;
    if (nn_pickle_push_new(m, made))
        return true;
    free(made.items);
    return false;
}

// Replaces the stack from place `first` on by one value of `kind` with these items.
static bool collect(NnPickleMachine *m, size_t first, NnPickleKind kind)
{
    const size_t n = m->depth - first;
    m->depth = first;
    return nn_pickle_push_items(m, (NnPickleValue){.kind = (uint8_t)kind}, m->stack + first, n);
}

// ---- arguments in the program ----

static bool take(NnPickleMachine *m, size_t n, const uint8_t **bytes)
{
    if (n > (size_t)(m->end - m->at)) {
        nn_pickle_broken(m, "it ends in the middle of an operation");
        return false;
    }
    *bytes = m->at;
    m->at += n;
    return true;
}

static bool take_uint(NnPickleMachine *m, size_t n, uint64_t *out)
{
    const uint8_t *p = NULL;
    if (!take(m, n, &p))
        return false;
    *out = 0;
    for (size_t i = 0; i < n; i++)
        *out |= (uint64_t)p[i] << (8 * i);
    return true;
}

// A line of the old text operations, without its end.
bool nn_pickle_take_line(NnPickleMachine *m, const char **line, size_t *n)
{
    const uint8_t *nl = m->at < m->end ? memchr(m->at, '\n', (size_t)(m->end - m->at)) : NULL;
    if (nl == NULL)
        return nn_pickle_broken(m, "a line has no end");
    *line = (const char *)m->at;
    *n = (size_t)(nl - m->at);
    m->at = nl + 1;
    return true;
}

static bool op_text(NnPickleMachine *m, size_t size_bytes)
{
    uint64_t n = 0;
    const uint8_t *p = NULL;
    if (!take_uint(m, size_bytes, &n) || !take(m, (size_t)n, &p))
        return false;
    if (!vc_utf8_valid((const char *)p, n))
        return nn_pickle_broken(m, "a text that is not UTF-8");
    return nn_pickle_push_new(m,
                              (NnPickleValue){.kind = NN_PICKLE_TEXT, .count = (uint32_t)n, .text = (const char *)p});
}

static bool op_long(NnPickleMachine *m, size_t size_bytes)
{
    uint64_t n = 0;
    const uint8_t *p = NULL;
    if (!take_uint(m, size_bytes, &n) || !take(m, (size_t)n, &p))
        return false;
    if (n > 8) // exact integers of Python beyond 64 bits have no place in a weight file
        return nn_pickle_broken(m, "an integer of more than 64 bits");
    uint64_t bits = n > 0 && p[n - 1] >= 0x80 ? UINT64_MAX : 0;
    for (size_t i = 0; i < n; i++)
        bits = (bits & ~((uint64_t)0xff << (8 * i))) | (uint64_t)p[i] << (8 * i);
    return push_int(m, (int64_t)bits);
}

static bool op_float(NnPickleMachine *m)
{
    const uint8_t *p = NULL;
    if (!take(m, 8, &p))
        return false;
    uint64_t bits = 0;
    for (size_t i = 0; i < 8; i++) // big-endian, alone in this format
        bits = bits << 8 | p[i];
    NnPickleValue v = {.kind = NN_PICKLE_REAL};
    memcpy(&v.real, &bits, sizeof bits);
    return nn_pickle_push_new(m, v);
}

static bool memo_put(NnPickleMachine *m, uint64_t at)
{
    if (top(m) == NULL)
        return nn_pickle_broken(m, "the stack is empty");
    // Each entry takes two bytes of program at least: a larger number is no counter.
    if (at >= (uint64_t)(m->end - m->data))
        return nn_pickle_broken(m, "a memo number beyond the length of the pickle");
    if (at >= m->memo_count) {
        m->memo = vc_grow(m->memo, &m->memo_cap, at + 1, sizeof *m->memo);
        while (m->memo_count <= at)
            m->memo[m->memo_count++] = UINT32_MAX;
    }
    m->memo[at] = m->stack[m->depth - 1];
    return true;
}

static bool memo_get(NnPickleMachine *m, size_t size_bytes)
{
    uint64_t at = 0;
    if (!take_uint(m, size_bytes, &at))
        return false;
    if (at >= m->memo_count || m->memo[at] == UINT32_MAX)
        return nn_pickle_broken(m, "a memo that was never set");
    return nn_pickle_push(m, m->memo[at]);
}

// ---- containers ----

static bool op_append(NnPickleMachine *m, size_t first)
{
    const size_t n = m->depth - first;
    m->depth = first;
    NnPickleValue *list = top(m);
    if (list == NULL || list->kind != NN_PICKLE_LIST)
        return nn_pickle_broken(m, "items appended to what is no list");
    return add_items(m, list, m->stack + first, n);
}

static bool op_set(NnPickleMachine *m, size_t first)
{
    const size_t n = m->depth - first;
    m->depth = first;
    NnPickleValue *dict = top(m);
    if (dict == NULL || dict->kind != NN_PICKLE_DICT)
        return nn_pickle_broken(m, "members set in what is no dict");
    if (n % 2 != 0)
        return nn_pickle_broken(m, "a key without a value");
    return add_items(m, dict, m->stack + first, n);
}

static bool op_tuple_of(NnPickleMachine *m, size_t n)
{
    if (m->depth - floor_of(m) < n)
        return nn_pickle_broken(m, "the stack is empty");
    return collect(m, m->depth - n, NN_PICKLE_TUPLE);
}

// Attributes of a state dict (its versions, "_metadata") are no weights: dropped. Of anything else: refused.
static bool op_build(NnPickleMachine *m)
{
    uint32_t state = 0;
    if (!nn_pickle_pop(m, &state))
        return false;
    const NnPickleValue *object = top(m);
    if (object == NULL)
        return nn_pickle_broken(m, "the stack is empty");
    if (object->kind != NN_PICKLE_DICT || value(m, state)->kind != NN_PICKLE_DICT)
        return nn_pickle_refuse(m, "attributes of an object that is no dict");
    return true;
}

static bool op_pop(NnPickleMachine *m)
{
    size_t first = 0;
    if (m->depth == floor_of(m) && m->mark_count > 0) // of nothing but a mark, as Python has it
        return unmark(m, &first);
    uint32_t dropped = 0;
    return nn_pickle_pop(m, &dropped);
}

static bool op_mark(NnPickleMachine *m)
{
    if (m->mark_count >= NN_PICKLE_MAX_VALUES)
        return nn_pickle_too_large(m);
    m->marks = vc_grow(m->marks, &m->mark_cap, m->mark_count + 1, sizeof *m->marks);
    m->marks[m->mark_count++] = (uint32_t)m->depth;
    return true;
}

// What is well-formed, has a use in Python and none here: said by name.
static bool refuse_operation(NnPickleMachine *m, uint8_t op)
{
    static const struct {
        uint8_t op;
        const char *name;
    } known[] = {
        {'P', "a persistent id in text"},
        {'T', "a byte string"},
        {'U', "a byte string"},
        {'B', "bytes"},
        {'C', "bytes"},
        {0x8e, "bytes"},
        {0x96, "a bytearray"},
        {0x8f, "a set"},
        {0x90, "a set"},
        {0x91, "a frozenset"},
        {0x97, "a buffer"},
        {0x98, "a buffer"},
        {0x81, "the construction of an object"},
        {0x92, "the construction of an object"},
        {'o', "the construction of an object"},
        {0x82, "an extension code"},
        {0x83, "an extension code"},
        {0x84, "an extension code"},
    };
    if (op == OP_INST) { // names what it would construct
        const char *module = NULL, *name = NULL;
        size_t module_n = 0, name_n = 0;
        if (!nn_pickle_take_line(m, &module, &module_n) || !nn_pickle_take_line(m, &name, &name_n))
            return false;
        return nn_pickle_push_name(m, module, module_n, name, name_n) &&
               nn_pickle_refuse(m, "the construction of an object");
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].op == op)
            return nn_pickle_refuse(m, known[i].name);
    }
    char text[64];
    snprintf(text, sizeof text, "operation 0x%02x is unknown or of protocol 0 or 1", op);
    return nn_pickle_broken(m, text);
}

static bool operation_on_marks(NnPickleMachine *m, uint8_t op)
{
    size_t first = 0;
    if (!unmark(m, &first))
        return false;
    switch (op) {
    case OP_TUPLE:
        return collect(m, first, NN_PICKLE_TUPLE);
    case OP_LIST:
        return collect(m, first, NN_PICKLE_LIST);
    case OP_APPENDS:
        return op_append(m, first);
    case OP_SETITEMS:
        return op_set(m, first);
    default: // POP_MARK
        m->depth = first;
        return true;
    }
}

static bool operation_on_top(NnPickleMachine *m, uint8_t op)
{
    const size_t need = op == OP_SETITEM ? 3 : 2;
    switch (op) {
    case OP_APPEND:
    case OP_SETITEM:
        if (m->depth - floor_of(m) < need)
            return nn_pickle_broken(m, "the stack is empty");
        return op == OP_APPEND ? op_append(m, m->depth - 1) : op_set(m, m->depth - 2);
    case OP_DUP:
        return top(m) != NULL ? nn_pickle_push(m, m->stack[m->depth - 1]) : nn_pickle_broken(m, "the stack is empty");
    case OP_REDUCE:
        return nn_pickle_reduce(m);
    case OP_BUILD:
        return op_build(m);
    case OP_BINPERSID:
        return nn_pickle_persistent(m);
    case OP_STACK_GLOBAL:
        return nn_pickle_stack_global(m);
    case OP_MEMOIZE:
        return memo_put(m, m->memo_count);
    case OP_TUPLE1:
    case OP_TUPLE2:
    case OP_TUPLE3:
        return op_tuple_of(m, (size_t)op - OP_TUPLE1 + 1);
    default:
        return op_pop(m);
    }
}

static bool operation_with_number(NnPickleMachine *m, uint8_t op)
{
    static const uint8_t sizes[256] = {[OP_BININT] = 4, [OP_BININT1] = 1,     [OP_BININT2] = 2, [OP_BINPUT] = 1,
                                       [OP_PROTO] = 1,  [OP_LONG_BINPUT] = 4, [OP_FRAME] = 8};
    uint64_t n = 0;
    if (!take_uint(m, sizes[op], &n))
        return false;
    switch (op) {
    case OP_BININT:
        return push_int(m, (int32_t)(uint32_t)n);
    case OP_BININT1:
    case OP_BININT2:
        return push_int(m, (int64_t)n);
    case OP_BINPUT:
    case OP_LONG_BINPUT:
        return memo_put(m, n);
    case OP_PROTO:
        return (n >= 2 && n <= 5) || nn_pickle_broken(m, "a protocol that is not 2 to 5");
    default: // FRAME: a hint for readers of streams
        return true;
    }
}

static bool step(NnPickleMachine *m, uint8_t op)
{
    switch (op) {
    case OP_NONE:
        return nn_pickle_push_new(m, (NnPickleValue){.kind = NN_PICKLE_NONE});
    case OP_NEWTRUE:
    case OP_NEWFALSE:
        return nn_pickle_push_new(m, (NnPickleValue){.kind = NN_PICKLE_BOOL, .integer = op == OP_NEWTRUE});
    case OP_EMPTY_DICT:
        return nn_pickle_push_new(m, (NnPickleValue){.kind = NN_PICKLE_DICT});
    case OP_EMPTY_LIST:
        return nn_pickle_push_new(m, (NnPickleValue){.kind = NN_PICKLE_LIST});
    case OP_EMPTY_TUPLE:
        return nn_pickle_push_new(m, (NnPickleValue){.kind = NN_PICKLE_TUPLE});
    case OP_BINFLOAT:
        return op_float(m);
    case OP_LONG1:
        return op_long(m, 1);
    case OP_LONG4:
        return op_long(m, 4);
    case OP_SHORT_BINUNICODE:
        return op_text(m, 1);
    case OP_BINUNICODE:
        return op_text(m, 4);
    case OP_BINUNICODE8:
        return op_text(m, 8);
    case OP_BINGET:
        return memo_get(m, 1);
    case OP_LONG_BINGET:
        return memo_get(m, 4);
    case OP_GLOBAL:
        return nn_pickle_global(m);
    case OP_MARK:
        return op_mark(m);
    case OP_TUPLE:
    case OP_LIST:
    case OP_APPENDS:
    case OP_SETITEMS:
    case OP_POP_MARK:
        return operation_on_marks(m, op);
    case OP_APPEND:
    case OP_SETITEM:
    case OP_DUP:
    case OP_REDUCE:
    case OP_BUILD:
    case OP_BINPERSID:
    case OP_STACK_GLOBAL:
    case OP_MEMOIZE:
    case OP_TUPLE1:
    case OP_TUPLE2:
    case OP_TUPLE3:
    case OP_POP:
        return operation_on_top(m, op);
    case OP_BININT:
    case OP_BININT1:
    case OP_BININT2:
    case OP_BINPUT:
    case OP_LONG_BINPUT:
    case OP_PROTO:
    case OP_FRAME:
        return operation_with_number(m, op);
    default:
        return refuse_operation(m, op);
    }
}

bool nn_pickle_read(NnPickle *out, const uint8_t *data, size_t n, const char *path, VcErr *err)
{
    *out = (NnPickle){0};
    if (n > NN_PICKLE_MAX_BYTES) {
        return vc_fail(err, VC_ERR_LIMIT, "'%s': its pickle has %zu bytes, at most %d are accepted", path, n,
                       NN_PICKLE_MAX_BYTES);
    }
    NnPickleMachine m = {.out = out, .data = data, .at = data, .end = data + n, .path = path, .err = err};
    bool ok = true, stopped = false;
    while (ok && !stopped) {
        const uint8_t *op = NULL;
        ok = take(&m, 1, &op);
        stopped = ok && *op == OP_STOP;
        ok = ok && (stopped || step(&m, *op));
    }
    ok = ok && ((m.depth == 1 && m.mark_count == 0) || nn_pickle_broken(&m, "it ends with other than one value"));
    if (ok && m.stack)
        out->root = m.stack[0];
    free(m.stack);
    free(m.marks);
    free(m.memo);
    if (!ok)
        nn_pickle_finish(out);
    return ok;
}

static bool has_items(const NnPickleValue *v)
{
    return v->kind == NN_PICKLE_TUPLE || v->kind == NN_PICKLE_LIST || v->kind == NN_PICKLE_DICT ||
           v->kind == NN_PICKLE_STORAGE || v->kind == NN_PICKLE_TENSOR;
}

void nn_pickle_finish(NnPickle *pickle)
{
    for (size_t i = 0; i < pickle->count; i++) {
        if (has_items(&pickle->values[i]))
            free(pickle->values[i].items);
    }
    free(pickle->values);
    *pickle = (NnPickle){0};
}

const NnPickleValue *nn_pickle_member(const NnPickle *pickle, const NnPickleValue *dict, const char *key)
{
    const size_t n = strlen(key);
    for (size_t i = 0; i + 1 < dict->count; i += 2) {
        const NnPickleValue *k = &pickle->values[dict->items[i]];
        if (k->kind == NN_PICKLE_TEXT && k->count == n && memcmp(k->text, key, n) == 0)
            return &pickle->values[dict->items[i + 1]];
    }
    return NULL;
}
