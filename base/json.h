// SPDX-License-Identifier: MIT
// JSON reading, thin over jansson (the one place that includes it), with errors that name file, line and key.
// Writing is done with vc_str_put_json and plain formatting; vc_json_put writes back what was read.
//
// A VcJson is a borrowed view unless a function says it creates one. Threads: one document, one thread at a time.
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

typedef struct json_t VcJson;

// Parses a whole document. `what` names it in errors. The caller frees the result with vc_json_destroy.
// Files over `max_bytes` are refused (VC_ERR_LIMIT).
bool vc_json_read_file(VcJson **out, const char *path, size_t max_bytes, VcErr *err);
bool vc_json_parse(VcJson **out, const char *text, size_t n, const char *what, VcErr *err);
void vc_json_destroy(VcJson **json); // NULL allowed; clears
const char *vc_json_library_version(void);

bool vc_json_is_object(const VcJson *json);
bool vc_json_is_array(const VcJson *json);
bool vc_json_is_string(const VcJson *json);
bool vc_json_is_number(const VcJson *json); // integer or real
bool vc_json_is_null(const VcJson *json);   // JSON null; not C NULL

// Borrowed; NULL when absent or `json` is no object / array.
VcJson *vc_json_member(const VcJson *json, const char *key);
size_t vc_json_length(const VcJson *json); // items of an array, members of an object, 0 otherwise
VcJson *vc_json_item(const VcJson *json, size_t index);
// Walks the members of an object: `iter` starts as NULL and is opaque; false at the end.
bool vc_json_next_member(const VcJson *json, void **iter, const char **key, VcJson **value);
// NULL when no string; length may be NULL. A text may contain \u0000: use the length where that matters.
const char *vc_json_string(const VcJson *json, size_t *length);
double vc_json_number(const VcJson *json, double otherwise);
int64_t vc_json_int(const VcJson *json, int64_t otherwise); // reals are not integers
bool vc_json_bool(const VcJson *json, bool otherwise);

// Appends any value as JSON text on one line, as Python's json.dumps spaces it; characters stay UTF-8.
void vc_json_put(VcStr *out, const VcJson *json);

// Typed members. Required: absent or of another type is an error "'key' in WHAT: expected ...".
bool vc_json_get_string(const VcJson *json, const char *key, const char **out, const char *what, VcErr *err);
bool vc_json_get_int(const VcJson *json, const char *key, int64_t *out, const char *what, VcErr *err);
bool vc_json_get_number(const VcJson *json, const char *key, double *out, const char *what, VcErr *err);

// Reads the elements of a large document one at a time in flat memory: the items of a top-level array, the items of
// the array under `member` of a top-level object (COCO's "annotations"), or the lines of a JSONL file.
typedef struct VcJsonStream VcJsonStream;
typedef enum { VC_JSON_ARRAY, VC_JSON_LINES } VcJsonForm;
bool vc_json_stream_open(VcJsonStream **out, const char *path, VcJsonForm form, const char *member, VcErr *err);
// *item is created (the caller destroys it) or NULL at the end. A broken line or element is an error that the caller
// may skip by calling again; where there is no way on (an open bracket or quotation mark at the end of the file), the
// stream has ended. Bytes that are not UTF-8 become U+FFFD before parsing. *line (may be NULL): 1-based line or item.
bool vc_json_stream_next(VcJsonStream *stream, VcJson **item, size_t *line, VcErr *err);
bool vc_json_stream_ended(const VcJsonStream *stream);
size_t vc_json_stream_repaired(const VcJsonStream *stream); // replacements so far
void vc_json_stream_close(VcJsonStream **stream);
