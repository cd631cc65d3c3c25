// SPDX-License-Identifier: MIT
// Posting lists that the engines of one workspace map once. The pages are the file's either way, but a process that
// maps them four times holds four tables of them and looks four times as large.
#include "query/private.h"

#include <pthread.h>

enum { KEPT = 4 }; // states of the database that engines may be at, at the same time

typedef struct {
    PostingsReader *reader; // NULL: free
    size_t users;
    uint64_t stamp;
} Kept;

struct QueryShare {
    pthread_mutex_t lock;
    size_t engines;
    Kept kept[KEPT];
};

QueryShare *query_share_create(void)
{
    QueryShare *share = vc_calloc(1, sizeof *share);
    pthread_mutex_init(&share->lock, NULL);
    share->engines = 1;
    return share;
}

QueryShare *query_share_join(QueryShare *share)
{
    pthread_mutex_lock(&share->lock);
    share->engines++;
    pthread_mutex_unlock(&share->lock);
    return share;
}

void query_share_leave(QueryShare **share)
{
    QueryShare *s = *share;
    *share = NULL;
    pthread_mutex_lock(&s->lock);
    const size_t left = --s->engines;
    pthread_mutex_unlock(&s->lock);
    if (left > 0)
        return;
    pthread_mutex_destroy(&s->lock);
    free(s);
}

bool query_share_postings(QueryShare *share, VcWorkspace *ws, uint64_t stamp, PostingsReader **out, VcErr *err)
{
    bool ok = true;
    *out = NULL;
    pthread_mutex_lock(&share->lock);
    Kept *place = NULL;
    for (size_t i = 0; i < KEPT; i++) {
        Kept *k = &share->kept[i];
        if (k->reader && k->stamp == stamp) {
            place = k;
            break;
        }
        if (!k->reader && !place)
            place = k;
    }
    if (place && place->reader) {
        place->users++;
        *out = place->reader;
    } else {
        ok = postings_open(out, ws, stamp, err);
        if (ok && *out && place) // without a place it belongs to this engine alone
            *place = (Kept){*out, 1, stamp};
    }
    pthread_mutex_unlock(&share->lock);
    return ok;
}

void query_share_give_back(QueryShare *share, PostingsReader **reader)
{
    if (!*reader)
        return;
    pthread_mutex_lock(&share->lock);
    Kept *place = NULL;
    for (size_t i = 0; i < KEPT && !place; i++)
        place = share->kept[i].reader == *reader ? &share->kept[i] : NULL;
    if (!place || --place->users == 0) {
        if (place)
            *place = (Kept){0};
        postings_close(reader);
    }
    *reader = NULL;
    pthread_mutex_unlock(&share->lock);
}
