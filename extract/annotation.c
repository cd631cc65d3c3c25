// SPDX-License-Identifier: MIT
#include "extract/annotation.h"

#include "base/mem.h"

struct ExtractAnnotations {
    VcWorkspace *ws;
    VcStmt *known, *add, *concepts;
};

ExtractAnnotations *extract_annotations_create(VcWorkspace *ws)
{
    ExtractAnnotations *a = vc_calloc(1, sizeof *a);
    a->ws = ws;
    return a;
}

void extract_annotations_destroy(ExtractAnnotations **annotations)
{
    if (!annotations || !*annotations)
        return;
    ExtractAnnotations *a = *annotations;
    vc_stmt_finish(&a->known);
    vc_stmt_finish(&a->add);
    vc_stmt_finish(&a->concepts);
    free(a);
    *annotations = NULL;
}

// Most sources have no annotations, so their workspaces have no such tables.
static bool prepare(ExtractAnnotations *a, VcErr *err)
{
    VcDb *db = a->ws->db;
    return a->add ||
           (vc_db_exec(db,
                       "CREATE TABLE IF NOT EXISTS annotation(caption_id INTEGER PRIMARY KEY REFERENCES caption"
                       "  ON DELETE CASCADE, captions INTEGER NOT NULL, second_image INTEGER REFERENCES image,"
                       "  shape TEXT NOT NULL, fields TEXT CHECK(fields IS NULL OR json_valid(fields))) STRICT;"
                       "CREATE TABLE IF NOT EXISTS given_concepts(image_id INTEGER PRIMARY KEY REFERENCES image"
                       "  ON DELETE CASCADE, concepts TEXT NOT NULL CHECK(json_valid(concepts))) STRICT",
                       err) &&
            vc_db_prepare(db, &a->known,
                          "SELECT 1 FROM caption c JOIN annotation a USING(caption_id) WHERE c.image_id = ?1"
                          " AND c.text IS ?2 AND a.shape = ?3 AND a.fields IS ?4 AND a.captions = ?5",
                          err) &&
            vc_db_prepare(db, &a->concepts,
                          "INSERT INTO given_concepts VALUES(?1, ?2)"
                          " ON CONFLICT(image_id) DO UPDATE SET concepts = ?2 WHERE concepts <> ?2",
                          err) &&
            vc_db_prepare(db, &a->add, "INSERT INTO annotation VALUES(?1, ?2, ?3, ?4, ?5)", err));
}

bool extract_annotations_known(ExtractAnnotations *a, int64_t image_id, const ExtractEntry *e, bool *known, VcErr *err)
{
    *known = false;
    if (e->caption_count == 0)
        return true;
    if (!prepare(a, err))
        return false;
    vc_bind_int(a->known, 1, image_id);
    vc_bind_text(a->known, 2, e->captions[0]);
    vc_bind_text(a->known, 3, e->shape);
    vc_bind_text(a->known, 4, e->fields);
    vc_bind_int(a->known, 5, (int64_t)e->caption_count);
    const bool ok = vc_stmt_step(a->known, known, err);
    vc_stmt_reset(a->known);
    return ok;
}

bool extract_annotations_add(ExtractAnnotations *a, int64_t first_caption, int64_t second_image, const ExtractEntry *e,
                             VcErr *err)
{
    if (!prepare(a, err))
        return false;
    vc_bind_int(a->add, 1, first_caption);
    vc_bind_int(a->add, 2, (int64_t)e->caption_count);
    if (second_image) {
        vc_bind_int(a->add, 3, second_image);
    } else {
        vc_bind_null(a->add, 3);
    }
    vc_bind_text(a->add, 4, e->shape);
    vc_bind_text(a->add, 5, e->fields);
    return vc_stmt_run(a->add, err);
}

bool extract_annotations_concepts(ExtractAnnotations *a, int64_t image_id, const char *concepts, VcErr *err)
{
    if (!prepare(a, err))
        return false;
    vc_bind_int(a->concepts, 1, image_id);
    vc_bind_text(a->concepts, 2, concepts);
    return vc_stmt_run(a->concepts, err);
}
