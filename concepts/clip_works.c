// SPDX-License-Identifier: MIT
#include "concepts/clip_private.h"

#include <pthread.h>

enum { KEPT = 256 }; // more are released as they are given back

struct ClipWorks {
    pthread_mutex_t lock;
    ClipWork *kept[KEPT];
    size_t count;
};

ClipWorks *clip_works_create(void)
{
    ClipWorks *works = vc_calloc(1, sizeof *works);
    VC_ASSERT(pthread_mutex_init(&works->lock, NULL) == 0);
    return works;
}

static void release(ClipWork *w)
{
    clip_work_finish(w);
    free(w);
}

void clip_works_clear(ClipWorks *works)
{
    while (works->count > 0)
        release(works->kept[--works->count]);
}

void clip_works_destroy(ClipWorks **works)
{
    if (*works == NULL)
        return;
    clip_works_clear(*works);
    pthread_mutex_destroy(&(*works)->lock);
    free(*works);
    *works = NULL;
}

ClipWork *clip_work_take(const ClipModel *m, bool image, size_t rows, size_t columns, size_t keys)
{
    const ClipPackedTower *packed = image ? &m->image_tower : &m->text_tower;
    ClipWork *found = NULL;
    pthread_mutex_lock(&m->works->lock);
    for (size_t i = 0; i < m->works->count && found == NULL; i++) {
        ClipWork *w = m->works->kept[i];
        if (w->packed != packed || w->rows < rows)
            continue;
        found = w;
        m->works->kept[i] = m->works->kept[--m->works->count];
    }
    pthread_mutex_unlock(&m->works->lock);
    if (found == NULL) {
        found = vc_calloc(1, sizeof *found);
        clip_work_init(found, image ? &m->info.image : &m->info.text, packed, rows, columns, keys);
    }
    return found;
}

void clip_work_give(const ClipModel *m, ClipWork *w)
{
    if (w == NULL)
        return;
    w->absmax = NULL;
    pthread_mutex_lock(&m->works->lock);
    const bool kept = m->works->count < KEPT;
    if (kept)
        m->works->kept[m->works->count++] = w;
    pthread_mutex_unlock(&m->works->lock);
    if (!kept)
        release(w);
}
