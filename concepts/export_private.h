// SPDX-License-Identifier: MIT
// Shared by the exports. Not for other folders.
#pragma once

#include "concepts/export.h"

// Strings one after the other; memory is kept.
typedef struct {
    VcStr text;
    size_t *starts, starts_cap;
    const char **items;
    size_t items_cap, count;
} ExportList;
void export_list_clear(ExportList *list);
void export_list_put(ExportList *list, const char *text, size_t n);
const char *const *export_list_items(ExportList *list); // [count], borrowed until the list changes
void export_list_finish(ExportList *list);

// The concepts of an image: mined, or else as its source gave them.
typedef struct {
    VcStmt *mined, *given;
    ExportList list;
    double *scores;
    size_t scores_cap;
    bool has_scores;
} ExportConcepts;
bool export_concepts_open(ExportConcepts *c, VcWorkspace *ws, VcErr *err);
bool export_concepts_of(ExportConcepts *c, int64_t image_id, VcErr *err); // into c->list and c->scores
void export_concepts_close(ExportConcepts *c);

bool export_has_table(VcWorkspace *ws, const char *name, bool *has, VcErr *err);
// Appends the condition on `image i`; its names are parameters 1 to 3, bound (and checked) by the other.
void export_image_condition(const ConceptsSelection *o, VcStr *sql);
bool export_bind_selection(VcWorkspace *ws, VcStmt *stmt, const ConceptsSelection *o, VcErr *err);

void export_put_strings(VcStr *out, const char *const *items, size_t n); // a JSON list
void export_put_scores(VcStr *out, const double *scores, size_t n);
