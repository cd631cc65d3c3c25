// SPDX-License-Identifier: MIT
// The list of all images by offset, for the grid before anything is asked: every ORDER_STEP-th image_id is kept, so a
// page anywhere costs a look-up and a short walk instead of a count over the whole table.
#include "serve/internal.h"

#include "base/clock.h"
#include "base/mem.h"

enum { ORDER_STEP = 1024, ORDER_FRESH = 5, ORDER_COST = 30 };

static bool build(ServeOrder *o, VcDb *db, VcErr *err)
{
    VcStmt *stmt;
    if (!vc_db_prepare(db, &stmt, "SELECT image_id FROM image WHERE status >= 0 ORDER BY image_id", err))
        return false;
    int64_t *starts = NULL, total = 0;
    size_t cap = 0, count = 0;
    bool row = true, ok = true;
    while ((ok = vc_stmt_step(stmt, &row, err)) && row) {
        if (total++ % ORDER_STEP != 0)
            continue;
        starts = vc_grow(starts, &cap, count + 1, sizeof *starts);
        starts[count++] = vc_column_int(stmt, 0);
    }
    vc_stmt_finish(&stmt);
    if (ok) {
        free(o->starts);
        o->starts = starts;
        o->total = total;
    } else {
        free(starts);
    }
    return ok;
}

// Where image number `offset` is: the image_id to begin at and how many to pass over from there. Made anew when images
// were added, and else after ORDER_FRESH seconds or ORDER_COST times what making it takes.
bool serve_order_find(ServeContext *ctx, VcDb *db, int64_t offset, ServePlace *place, VcErr *err)
{
    int64_t last;
    if (!vc_db_int(db, "SELECT max(image_id) FROM image", 0, &last, err))
        return false;
    pthread_mutex_lock(&ctx->order_lock);
    ServeOrder *o = &ctx->order;
    double now = vc_now(), keep = ORDER_FRESH > ORDER_COST * o->cost ? ORDER_FRESH : ORDER_COST * o->cost;
    bool ok = true;
    if (!o->made || ((o->last != last || now - o->at > keep) && now - o->at > ORDER_COST * o->cost / 10)) {
        ok = build(o, db, err);
        o->made = ok;
        o->last = last;
        o->at = vc_now();
        o->cost = o->at - now;
    }
    *place = (ServePlace){.total = o->total, .start = INT64_MAX};
    if (ok && o->starts && offset < o->total) {
        place->start = o->starts[offset / ORDER_STEP];
        place->pass = offset % ORDER_STEP;
    }
    pthread_mutex_unlock(&ctx->order_lock);
    return ok;
}
