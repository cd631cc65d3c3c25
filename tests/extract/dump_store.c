// SPDX-License-Identifier: MIT
// dump_store WORKSPACE: a line for every image, in the order of its number: number, key, state, error, hash of the
// source, hash of the stored JPEG as a reader gets it, captions. Two workspaces hold the same exactly when the dumps
// are equal. dump_store --columns WORKSPACE: number and other columns of those that have some.
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "extract/extract.h"

#include <inttypes.h>

static bool dump(VcWorkspace *ws, ExtractReader *reader, VcErr *err)
{
    VcStmt *images = NULL, *captions = NULL;
    bool row,
        ok = vc_db_prepare(ws->db, &images,
                           "SELECT i.image_id, s.name, i.key, i.status, coalesce(i.error, ''), lower(hex(i.sha256)),"
                           " f.image_id IS NOT NULL, i.width, i.height, i.bytes, i.mime FROM image i"
                           " JOIN source s USING(source_id) LEFT JOIN image_file f USING(image_id)"
                           " ORDER BY i.image_id",
                           err) &&
             vc_db_prepare(ws->db, &captions, "SELECT text FROM caption WHERE image_id = ? ORDER BY caption_id", err);
    while (ok && (ok = vc_stmt_step(images, &row, err)) && row) {
        const int64_t id = vc_column_int(images, 0);
        printf("%" PRId64 "\t%s\t%s\t%" PRId64 "\t%s\t%s\t%" PRId64 "x%" PRId64 " %" PRId64 " %s", id,
               vc_column_text(images, 1), vc_column_text(images, 2), vc_column_int(images, 3),
               vc_column_text(images, 4), vc_column_is_null(images, 5) ? "-" : vc_column_text(images, 5),
               vc_column_int(images, 7), vc_column_int(images, 8), vc_column_int(images, 9),
               vc_column_is_null(images, 10) ? "-" : vc_column_text(images, 10));
        if (vc_column_int(images, 6)) {
            uint8_t *bytes, digest[32];
            size_t n;
            char hex[65];
            ok = extract_reader_read(reader, id, &bytes, &n, err);
            if (!ok)
                break;
            vc_sha256(bytes, n, digest);
            vc_hex(digest, 32, hex);
            free(bytes);
            printf("\t%s", hex);
        }
        vc_bind_int(captions, 1, id);
        while ((ok = vc_stmt_step(captions, &row, err)) && row)
            printf("\t%s", vc_column_text(captions, 0));
        printf("\n");
    }
    vc_stmt_finish(&images);
    vc_stmt_finish(&captions);
    return ok;
}

static bool dump_columns(VcWorkspace *ws, VcErr *err)
{
    VcStmt *stmt;
    bool row, ok = vc_db_prepare(ws->db, &stmt, "SELECT image_id, columns FROM image_columns ORDER BY image_id", err);
    while (ok && (ok = vc_stmt_step(stmt, &row, err)) && row)
        printf("%" PRId64 "\t%s\n", vc_column_int(stmt, 0), vc_column_text(stmt, 1));
    vc_stmt_finish(&stmt);
    return ok;
}

int main(int argc, char **argv)
{
    const bool columns = argc == 3 && strcmp(argv[1], "--columns") == 0;
    if (argc != 2 && !columns) {
        fprintf(stderr, "usage: dump_store [--columns] WORKSPACE\n");
        return 2;
    }
    VcWorkspace ws;
    VcErr err = {0};
    ExtractReader *reader = NULL;
    const bool ok =
        vc_workspace_open(&ws, argv[argc - 1], VC_DB_READ, &err) &&
        (columns ? dump_columns(&ws, &err) : extract_reader_open(&reader, &ws, &err) && dump(&ws, reader, &err));
    if (!ok)
        fprintf(stderr, "dump_store: %s\n", err.text);
    extract_reader_close(&reader);
    vc_workspace_close(&ws);
    return ok ? 0 : 1;
}
