// SPDX-License-Identifier: MIT
#include "extract/job.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "extract/fetch.h"
#include "extract/image.h"
#include "extract/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_BODIES = 32 << 20 }; // bytes of downloads that wait for a decoder or are under way

struct ExtractPipeline {
    const ExtractOptions *options;
    VcQueue *to_decode, *done;
    ExtractFetcher *fetcher;
    pthread_t *decoders;
    size_t decoder_count;
    ExtractSandboxOptions sandbox;
    ExtractSandbox **sandboxes; // one a decoder, all NULL without --sandbox
    atomic_size_t next_sandbox;
    atomic_bool cancelled;
};

void extract_job_destroy(ExtractJob **job)
{
    if (!job || !*job)
        return;
    free((*job)->key);
    free((*job)->bytes);
    free((*job)->thumbnail.jpeg);
    free(*job);
    *job = NULL;
}

// --- reading

static ExtractCause read_all(int fd, ExtractJob *job, size_t size)
{
    job->bytes = vc_alloc(size ? size : 1, 1);
    for (job->n = 0; job->n < size;) {
        const ssize_t got = read(fd, job->bytes + job->n, size - job->n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            vc_fail_errno(&job->err, "cannot read the file");
            return EXTRACT_UNREADABLE;
        }
        if (got == 0)
            break; // grew shorter while we read: what is there is judged
        job->n += (size_t)got;
    }
    return EXTRACT_OK;
}

static ExtractCause read_file(ExtractJob *job, uint64_t max_bytes)
{
    char *path = vc_path_join(job->source->root, job->key);
    // A pipe or a device under an image's name must not hold us up.
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    ExtractCause cause = EXTRACT_OK;
    if (fd < 0) {
        cause = errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG ? EXTRACT_MISSING : EXTRACT_UNREADABLE;
        vc_fail_errno(&job->err, "cannot open '%s'", path);
    } else if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        cause = EXTRACT_UNREADABLE;
        vc_fail(&job->err, VC_ERR_IO, "'%s' is no regular file", path);
    } else if ((uint64_t)st.st_size > max_bytes) {
        cause = EXTRACT_TOO_LARGE;
        vc_fail(&job->err, VC_ERR_LIMIT, "%lld bytes are over the limit of %llu", (long long)st.st_size,
                (unsigned long long)max_bytes);
    } else {
        cause = read_all(fd, job, (size_t)st.st_size);
    }
    if (fd >= 0)
        close(fd);
    free(path);
    return cause;
}

static ExtractCause read_member(ExtractJob *job, uint64_t max_bytes)
{
    if (extract_tar_member(job->source->root, job->offset, (size_t)max_bytes, &job->bytes, &job->n, &job->err))
        return EXTRACT_OK;
    return job->err.code == VC_ERR_LIMIT ? EXTRACT_TOO_LARGE : EXTRACT_UNREADABLE;
}

// --- decoding

static void decode(ExtractPipeline *p, ExtractSandbox *sandbox, ExtractJob *job)
{
    const ExtractThumbnailOptions *o = &p->options->thumbnail;
    if (!job->bytes)
        job->cause = job->source->tar ? read_member(job, o->max_bytes) : read_file(job, o->max_bytes);
    if (job->cause == EXTRACT_OK) {
        vc_sha256(job->bytes, job->n, job->sha256);
        job->cause = sandbox ? extract_sandbox_thumbnail(sandbox, &job->thumbnail, job->bytes, job->n, &job->err)
                             : extract_thumbnail(&job->thumbnail, job->bytes, job->n, o, &job->err);
    }
    free(job->bytes);
    job->bytes = NULL;
    if (job->fetched)
        extract_fetcher_release(p->fetcher, job->n);
}

static void put_done(ExtractPipeline *p, ExtractJob *job)
{
    VC_ASSERT(vc_queue_put(p->done, job));
}

static void *decoder_main(void *arg)
{
    ExtractPipeline *p = arg;
    ExtractSandbox *sandbox = p->sandboxes[atomic_fetch_add(&p->next_sandbox, 1)];
    void *item;
    while (vc_queue_get(p->to_decode, &item)) {
        ExtractJob *job = item;
        if (atomic_load(&p->cancelled) || vc_interrupted()) {
            job->cancelled = true;
            if (job->fetched)
                extract_fetcher_release(p->fetcher, job->n);
        } else {
            decode(p, sandbox, job);
        }
        put_done(p, job);
    }
    extract_image_thread_end();
    return NULL;
}

// On the network thread.
static void on_fetched(void *ctx, void *ticket, ExtractFetched *fetched)
{
    ExtractPipeline *p = ctx;
    ExtractJob *job = ticket;
    job->cancelled = fetched->cancelled;
    job->cause = fetched->cause;
    job->err = fetched->err;
    job->attempts = fetched->attempts;
    job->bytes = fetched->bytes;
    job->n = fetched->n;
    job->fetched = fetched->bytes != NULL;
    if (!job->cancelled && job->cause == EXTRACT_OK && !job->bytes) {
        job->cause = EXTRACT_EMPTY; // a body of no bytes
        vc_fail(&job->err, VC_ERR_FORMAT, "no bytes at all");
    }
    if (job->cancelled || job->cause != EXTRACT_OK) {
        put_done(p, job);
    } else {
        VC_ASSERT(vc_queue_put(p->to_decode, job));
    }
}

// --- the caller's side

static bool start_fetcher(ExtractPipeline *p, VcErr *err)
{
    ExtractFetchOptions options = p->options->fetch;
    options.max_bytes = (size_t)p->options->thumbnail.max_bytes;
    options.max_memory = MAX_BODIES;
    return extract_fetcher_start(&p->fetcher, &options, on_fetched, p, err);
}

// Before there are threads, so that a machine that cannot is told once.
static bool start_sandboxes(ExtractPipeline *p, VcErr *err)
{
    bool ok = true;
    extract_sandbox_options_init(&p->sandbox);
    for (size_t i = 0; ok && p->options->sandbox && i < p->options->jobs; i++)
        ok = extract_sandbox_start(&p->sandboxes[i], &p->sandbox, &p->options->thumbnail, err);
    return ok;
}

bool extract_pipeline_start(ExtractPipeline **out, const ExtractOptions *options, size_t capacity, VcErr *err)
{
    if (!extract_image_init(err))
        return false;
    ExtractPipeline *p = vc_calloc(1, sizeof *p);
    p->options = options;
    p->to_decode = vc_queue_create(capacity);
    p->done = vc_queue_create(capacity);
    p->decoders = vc_calloc(options->jobs, sizeof *p->decoders);
    p->sandboxes = vc_calloc(options->jobs, sizeof *p->sandboxes);
    bool ok = start_sandboxes(p, err) && start_fetcher(p, err);
    while (ok && p->decoder_count < options->jobs) {
        if (pthread_create(&p->decoders[p->decoder_count], NULL, decoder_main, p) != 0) {
            ok = vc_fail(err, VC_ERR_IO, "cannot start %zu decoder threads; try a smaller --jobs", options->jobs);
        } else {
            p->decoder_count++;
        }
    }
    if (ok) {
        *out = p;
    } else {
        extract_pipeline_stop(&p);
    }
    return ok;
}

void extract_pipeline_add(ExtractPipeline *p, ExtractJob *job)
{
    if (job->source->tar || (!extract_is_url(job->key) && !extract_has_scheme(job->key))) {
        VC_ASSERT(vc_queue_put(p->to_decode, job));
    } else if (extract_is_url(job->key)) {
        extract_fetcher_add(p->fetcher, job->key, job);
    } else {
        job->cause = EXTRACT_BAD_URL;
        vc_fail(&job->err, VC_ERR_USAGE, "only http and https URLs are fetched");
        put_done(p, job);
    }
}

ExtractJob *extract_pipeline_take(ExtractPipeline *p, double seconds)
{
    void *item;
    return vc_queue_get_within(p->done, &item, seconds) ? item : NULL;
}

void extract_pipeline_cancel(ExtractPipeline *p)
{
    atomic_store(&p->cancelled, true);
    extract_fetcher_cancel(p->fetcher);
}

void extract_pipeline_stop(ExtractPipeline **pipeline)
{
    if (!pipeline || !*pipeline)
        return;
    ExtractPipeline *p = *pipeline;
    vc_queue_close(p->to_decode);
    for (size_t i = 0; i < p->decoder_count; i++)
        pthread_join(p->decoders[i], NULL);
    extract_fetcher_stop(&p->fetcher);
    for (size_t i = 0; i < p->options->jobs; i++)
        extract_sandbox_stop(&p->sandboxes[i]);
    free(p->sandboxes);
    vc_queue_destroy(&p->to_decode);
    vc_queue_destroy(&p->done);
    free(p->decoders);
    free(p);
    *pipeline = NULL;
}
