// SPDX-License-Identifier: MIT
// vicha extract: sources of images and captions to the image store of a workspace.
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/ranks.h"
#include "extract/extract.h"

#include <inttypes.h>
#include <strings.h>

static const CliHelp help = {
    .name = "extract",
    .summary = "download or read, decode, check, resize, store",
    .usage = "[options] SOURCE...",
    .details =
        "SOURCE is a folder of images (captions from KEY.txt beside KEY.jpg, one a line), .tsv, .csv, .jsonl, .json "
        "(a\n"
        "list of {\"image\", \"caption\"} or [image, caption], COCO captions, a Karpathy split, VG region "
        "descriptions, or\n"
        "the VQA, NLVR2, SNLI-VE and RefCOCO+ annotations of ALBEF and ViCHA) or a WebDataset .tar, each also as .gz, "
        "or\n"
        "- for standard input (a copy is kept in DIR/inputs). A folder of shards or lists stands for its files, as\n"
        "img2dataset leaves them: their images are taken as they are, nothing is downloaded.\n"
        "Columns are found by their usual names, or by what they look like where there is no header line.\n"
        "The other columns of an entry are kept in table image_columns and in KEY.json.\n"
        "An image is a path relative to --root (default: the folder of the SOURCE) or an http(s) URL.\n\n"
        "Every input gets a row in vicha.db: stored, or rejected with the cause in image.status and image.error. "
        "Entries\n"
        "that name the same image become one image with several captions. A run that was stopped goes on where it\n"
        "stopped; a SOURCE that grew gives its new entries; with nothing new nothing is done.\n"
        "With --shard I/N this process takes the images whose number modulo N is I and writes tars with such numbers\n"
        "too: N processes with a workspace each give names that fit together; 'vicha merge' joins them. Started by\n"
        "mpirun or srun, or in a Slurm array, a process takes its part without being told, in DIR/part-I-of-N.\n"
        "--shard 0/1 takes everything. Ranks of mpirun end with 0 also when images were rejected: it would end the\n"
        "others.\n"
        "Hosts are asked for their robots.txt first, and asked slower when they say 429 or 503. Addresses of private\n"
        "networks are refused, also after a redirect, unless --allow-private is given. A proxy is taken from\n"
        "http_proxy, https_proxy and no_proxy, certificates to trust from SSL_CERT_FILE. --retry-failed tries again\n"
        "what a time-out, a broken connection, a name that was not found or a server error has rejected (causes:\n"
        "'vicha stats').\n"
        "With --dedup the first of several images that are one is kept, in the order of the SOURCE, earlier runs\n"
        "included: exact compares the bytes, pixel the decoded pixels (whatever the format and the metadata),\n"
        "perceptual the looks (other sizes, qualities, a little more light). Every image's hashes and measures are in\n"
        "table image_measure and in image.phash, with or without it.",
    .example = "  vicha extract -w flowers captions.jsonl --root photos\n"
               "  zcat list.tsv.gz | vicha extract -w web - --columns LICENSE,similarity\n"
               "  vicha extract -w again laion-shards/ --size 224\n"
               "  vicha extract -w cc3m Train_GCC-training.tsv --contact you@example.org",
};

static bool choose(const char *option, const char *word, const char *const *words, int *out, VcErr *err)
{
    for (int i = 0; words[i]; i++) {
        if (strcmp(word, words[i]) == 0) {
            *out = i;
            return true;
        }
    }
    VcStr list = {0};
    for (int i = 0; words[i]; i++)
        vc_str_putf(&list, "%s%s", i ? ", " : "", words[i]);
    vc_fail(err, VC_ERR_USAGE, "--%s %s: expected one of %s", option, word, list.data);
    vc_str_finish(&list);
    return false;
}

static bool parse_shard(const char *text, ExtractOptions *o, VcErr *err)
{
    const char *slash = strchr(text, '/');
    char *first = slash ? vc_strndup(text, (size_t)(slash - text)) : NULL;
    int64_t index, count;
    bool ok = first && vc_parse_i64(first, &index) && vc_parse_i64(slash + 1, &count) && count > 0 && count <= 100000 &&
              index >= 0 && index < count;
    free(first);
    if (!ok)
        return vc_fail(err, VC_ERR_USAGE, "--shard %s: expected I/N with 0 <= I < N, for example 0/4", text);
    o->shard_index = (uint32_t)index;
    o->shard_count = (uint32_t)count;
    return true;
}

// Without --shard: the part that MPI or Slurm give this process, in a folder of its own, DIR/part-I-of-N, because a
// workspace has one writer. `folder` is freed by the caller.
static bool choose_shard(const char *text, ExtractOptions *o, CliContext *ctx, char **folder, bool *together,
                         VcErr *err)
{
    if (text)
        return parse_shard(text, o, err);
    CliRank rank;
    if (!cli_rank(&rank, err))
        return false;
    *together = rank.together;
    if (!rank.source)
        return true;
    VcStr name = {0};
    vc_str_putf(&name, "part-%05" PRIu32 "-of-%05" PRIu32, rank.index, rank.count);
    *folder = vc_path_join(ctx->workspace, name.data);
    vc_str_finish(&name);
    ctx->workspace = *folder;
    o->shard_index = rank.index;
    o->shard_count = rank.count;
    vc_info("part %" PRIu32 " of %" PRIu32 " (%s), in '%s'; 'vicha merge' joins the parts", rank.index, rank.count,
            rank.source, *folder);
    return true;
}

// `copy` holds OLD and is freed by the caller.
static bool parse_replace(const char *text, ExtractOptions *o, char **copy, VcErr *err)
{
    const char *equals = text ? strchr(text, '=') : NULL;
    if (!text)
        return true;
    if (!equals || equals == text)
        return vc_fail(err, VC_ERR_USAGE, "--replace %s: expected OLD=NEW", text);
    o->replace = *copy = vc_strndup(text, (size_t)(equals - text));
    o->replacement = equals + 1;
    return true;
}

static bool parse_dedup(const char *word, ExtractOptions *o, VcErr *err)
{
    static const char *const words[] = {"off", "exact", "pixel", "perceptual", NULL};
    int choice;
    if (!choose("dedup", word, words, &choice, err))
        return false;
    o->dedup = (ExtractDedup)choice;
    o->thumbnail.full_pixels = o->dedup == EXTRACT_DEDUP_PIXEL;
    return true;
}

// The SOURCEs of the command line, then the lines of the file that --sources-from names.
typedef struct {
    const char **paths;
    size_t count, cap;
    char *text; // of the file; the paths point into it
} SourceList;

static bool collect_sources(SourceList *s, const CliContext *ctx, const char *file, VcErr *err)
{
    for (int i = 0; i < ctx->argc; i++) {
        s->paths = vc_grow(s->paths, &s->cap, s->count + 1, sizeof *s->paths);
        s->paths[s->count++] = ctx->argv[i];
    }
    size_t n = 0;
    if (file && !vc_read_file(&s->text, &n, file, 256 << 20, err))
        return vc_prefix(err, "--sources-from");
    for (char *at = s->text; at && at < s->text + n;) {
        char *end = at + strcspn(at, "\n");
        const size_t length = (size_t)(end - at) - (end > at && end[-1] == '\r');
        at[length] = 0;
        if (length) {
            s->paths = vc_grow(s->paths, &s->cap, s->count + 1, sizeof *s->paths);
            s->paths[s->count++] = at;
        }
        at = end + 1;
    }
    return true;
}

static void print_json(const ExtractReport *r)
{
    VcStr text = {0};
    extract_report_json(&text, r, false);
    printf("%s\n", text.data);
    vc_str_finish(&text);
}

static void print_text(const ExtractReport *r)
{
    if (r->stored + r->rejected + r->images_listed + r->captions_listed == 0)
        printf("nothing to do\n");
    printf("stored    %8" PRIu64 "  (%" PRIu64 " now)\n", r->total_stored, r->stored);
    printf("rejected  %8" PRIu64 "  (%" PRIu64 " now)\n", r->total_rejected, r->rejected);
    for (unsigned i = 0; extract_cause_at(i) != EXTRACT_OK; i++) {
        if (r->total_cause[-extract_cause_at(i)]) {
            printf("  %-14s %8" PRIu64 "\n", extract_cause_name(extract_cause_at(i)),
                   r->total_cause[-extract_cause_at(i)]);
        }
    }
    if (r->total_waiting)
        printf("waiting   %8" PRIu64 "\n", r->total_waiting);
    if (r->captions_repaired)
        printf("captions with bytes that were not UTF-8, repaired: %" PRIu64 "\n", r->captions_repaired);
    if (r->seconds > 0) {
        printf("%.1f images/s, %" PRIu64 " retries, %.1f MiB read, peak memory %.0f MiB\n",
               (double)(r->stored + r->rejected) / r->seconds, r->retries, (double)r->bytes_read / (1 << 20),
               (double)vc_peak_rss() / (1 << 20));
    }
}

static int run(const CliContext *ctx, const ExtractOptions *options)
{
    VcWorkspace ws;
    ExtractReport report = {0};
    VcErr err = {0};
    bool ok = vc_workspace_open(&ws, ctx->workspace, VC_DB_CREATE, &err);
    ok = ok && extract_run(&ws, options, &report, &err);
    vc_workspace_close(&ws);
    if (ok || report.stored + report.rejected > 0) {
        if (ctx->json) {
            print_json(&report);
        } else if (!ctx->quiet) {
            print_text(&report);
        }
    }
    if (!ok)
        return cli_error(&err);
    return report.total_rejected ? CLI_REJECTED : CLI_OK;
}

// mpirun takes any status but 0 for a crash and ends the ranks that are still at work.
static int status_of_rank(int status, bool together)
{
    return together && status == CLI_REJECTED ? CLI_OK : status;
}

int cmd_extract(int argc, char **argv)
{
    static const char *const fits[] = {"shortest", "crop", "pad", "keep", NULL};
    ExtractOptions o;
    extract_options_init(&o);
    static const char *const formats[] = {"auto", "tsv", "csv", "jsonl", "json", "tar", NULL};
    const char *columns = "all", *format = "auto", *list = NULL;
    const char *fit = "shortest", *dedup = "off", *shard = NULL, *replace = NULL;
    int64_t size = o.thumbnail.size, quality = o.thumbnail.quality, min_size = o.thumbnail.min_size;
    int64_t jobs = (int64_t)o.jobs, connections = (int64_t)o.fetch.connections, retries = o.fetch.retries, limit = 0;
    int64_t shard_images = (int64_t)o.shard_images, per_host = (int64_t)o.fetch.per_host;
    int64_t redirects = o.fetch.redirects;
    const CliOption options[] = {
        {"root", 0, CLI_STRING, &o.root, "DIR", "where relative paths start (default: the folder of the SOURCE)", 0, 0},
        {"image-col", 0, CLI_STRING, &o.image_col, "C",
         "column or member with the image's path; a name, or a number from 0", 0, 0},
        {"url-col", 0, CLI_STRING, &o.url_col, "C", "the same for its URL", 0, 0},
        {"caption-col", 0, CLI_STRING, &o.caption_col, "C", "the same for its caption", 0, 0},
        {"split", 0, CLI_STRING, &o.split, "NAME", "the split of images whose entry names none (train, val, ...)", 0,
         0},
        {"replace", 0, CLI_STRING, &replace, "OLD=NEW", "in the names of images, everywhere (SBU: images=images_train)",
         0, 0},
        {"columns", 0, CLI_STRING, &columns, "NAMES", "other columns to keep: all, none, or names with commas", 0, 0},
        {"input-format", 0, CLI_STRING, &format, "KIND",
         "auto | tsv | csv | jsonl | json | tar, whatever the file's name", 0, 0},
        {"sources-from", 0, CLI_STRING, &list, "FILE", "read names of more SOURCEs from FILE, one a line", 0, 0},
        {"size", 0, CLI_INT, &size, "N", "pixels of the side that --fit speaks of; images are never enlarged", 1,
         16384},
        {"fit", 0, CLI_STRING, &fit, "HOW", "shortest | crop | pad | keep", 0, 0},
        {"quality", 0, CLI_INT, &quality, "N", "of the stored JPEG", 1, 100},
        {"min-size", 0, CLI_INT, &min_size, "N", "reject images with a side under N pixels", 1, 65535},
        {"max-aspect", 0, CLI_REAL, &o.thumbnail.max_aspect, "R", "reject images whose sides differ by more", 1, 65535},
        {"jobs", 0, CLI_INT, &jobs, "N", "decoders (default: one a processor)", 1, 1024},
        {"connections", 0, CLI_INT, &connections, "N", "most downloads at a time; how many follows the throughput", 1,
         4096},
        {"per-host", 0, CLI_INT, &per_host, "N", "most of one host; 0: 32, of a private network all", 0, 4096},
        {"host-delay", 0, CLI_REAL, &o.fetch.host_delay, "S", "seconds between two requests to one host", 0, 3600},
        {"timeout", 0, CLI_REAL, &o.fetch.timeout, "S", "seconds for one download, all of it", 0.1, 3600},
        {"header-timeout", 0, CLI_REAL, &o.fetch.header_timeout, "S", "seconds until an answer's headers are complete",
         0.1, 3600},
        {"low-speed", 0, CLI_BYTES, &o.fetch.low_speed, "BYTES", "a second; slower for half of --timeout is too slow",
         0, 0},
        {"max-redirects", 0, CLI_INT, &redirects, "N", "most hops to an image", 0, 50},
        {"retries", 0, CLI_INT, &retries, "N", "after a time-out, a broken connection, 429 or 5xx", 0, 100},
        {"retry-failed", 0, CLI_MAYBE, &o.retry_failed, "CAUSE,...",
         "try rejected images again: those that may heal, or those of these causes", 0, 0},
        {"contact", 0, CLI_STRING, &o.fetch.contact, "TEXT", "a page or e-mail address for the owners of servers", 0,
         0},
        {"user-agent", 0, CLI_STRING, &o.fetch.user_agent, "TEXT",
         "what servers are told in place of 'vicha/VERSION (+CONTACT)'", 0, 0},
        {"allow-private", 0, CLI_FLAG, &o.fetch.allow_private, NULL,
         "fetch from loopback, private, link-local and metadata addresses too", 0, 0},
        {"ignore-robots", 0, CLI_FLAG, &o.fetch.ignore_robots, NULL, "do not look at robots.txt and X-Robots-Tag", 0,
         0},
        {"sandbox", 0, CLI_FLAG, &o.sandbox, NULL,
         "decode in processes that can do nothing else; a crash costs an image", 0, 0},
        {"dedup", 0, CLI_STRING, &dedup, "HOW", "exact | pixel | perceptual | off", 0, 0},
        {"limit", 0, CLI_INT, &limit, "N", "list at most N images; 0: all", 0, 9e15},
        {"shard-images", 0, CLI_INT, &shard_images, "N", "images in one tar", 1, 1e6},
        {"shard", 0, CLI_STRING, &shard, "I/N", "take part I of N (default: what MPI or Slurm say, else all)", 0, 0},
        {0},
    };
    CliContext ctx;
    bool help_shown;
    VcErr err = {0};
    if (!cli_parse(&ctx, argc, argv, &help, options, &help_shown, &err))
        return cli_error(&err);
    if (help_shown)
        return CLI_OK;
    int choice = 0, kind = 0;
    char *replaced = NULL, *folder = NULL;
    SourceList sources = {0};
    bool together = false;
    bool ok = parse_replace(replace, &o, &replaced, &err) && choose("fit", fit, fits, &choice, &err) &&
              parse_dedup(dedup, &o, &err) && choose_shard(shard, &o, &ctx, &folder, &together, &err) &&
              choose("input-format", format, formats, &kind, &err) && collect_sources(&sources, &ctx, list, &err);
    if (ok && sources.count == 0)
        ok = vc_fail(&err, VC_ERR_USAGE, "no SOURCE is given; see 'vicha extract --help'");
    o.sources = sources.paths;
    o.source_count = sources.count;
    o.format = kind ? formats[kind] : NULL;
    o.columns = strcmp(columns, "all") == 0 ? NULL : strcmp(columns, "none") == 0 ? "" : columns;
    o.thumbnail.fit = (ExtractFit)choice;
    o.thumbnail.size = (int)size;
    o.thumbnail.quality = (int)quality;
    o.thumbnail.min_size = (int)min_size;
    o.jobs = (size_t)jobs;
    o.fetch.connections = (size_t)connections;
    o.fetch.per_host = (size_t)per_host;
    o.fetch.redirects = (int)redirects;
    o.fetch.retries = (int)retries;
    o.limit = (uint64_t)limit;
    o.shard_images = (uint64_t)shard_images;
    const int status = status_of_rank(ok ? run(&ctx, &o) : cli_error(&err), together);
    free(replaced);
    free(folder);
    free(sources.paths);
    free(sources.text);
    cli_context_finish(&ctx);
    return status;
}
