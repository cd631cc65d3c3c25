// SPDX-License-Identifier: MIT
// vicha concepts: the stage's three steps and the look at its results.
#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/workspace.h"
#include "cli/commands.h"
#include "cli/concepts_show.h"
#include "concepts/concepts.h"

// What the four stage commands share: one set of targets, cut to the options each has.
typedef struct {
    CliContext ctx;
    VcWorkspace ws;
    VcPool *pool;
    VcStr settings;
    bool rejected; // some images were
} Run;

static bool begin(Run *r, VcErr *err)
{
    if (r->ctx.argc > 0)
        return vc_fail(err, VC_ERR_USAGE, "unexpected argument '%s'", r->ctx.argv[0]);
    if (!vc_workspace_open(&r->ws, r->ctx.workspace, VC_DB_WRITE, err))
        return false;
    r->pool = vc_pool_create((size_t)r->ctx.threads);
    return true;
}

static int end(Run *r, bool ok, const VcErr *err)
{
    vc_pool_destroy(&r->pool);
    vc_workspace_close(&r->ws);
    vc_str_finish(&r->settings);
    cli_context_finish(&r->ctx);
    return !ok ? cli_error(err) : r->rejected ? CLI_REJECTED : CLI_OK;
}

// --- parse -----------------------------------------------------------------------------------------------------------

static bool run_parse(Run *r, VocabularyOptions *o, VcErr *err)
{
    VocabularyReport report;
    o->pool = r->pool;
    if (!vocabulary_build(&r->ws, o, &report, err))
        return false;
    if (report.task) {
        const bool snli = strcmp(report.task, "hypothesis") == 0;
        vc_warn("the workspace has %ss and no captions; the original takes its concepts from the captions of %s: give "
                "that workspace with --vocabulary DIR",
                report.task, snli ? "Flickr30k's training part" : "COCO (of VG for VG-QA)");
    }
    if (report.dropped_vectors) {
        vc_warn(
            "the vocabulary has changed: concept vectors and mined concepts of the one before are gone; the vectors of "
            "the images stay");
    }
    if (r->ctx.json) {
        printf("{\"step\": \"parse\", \"captions\": %lld, \"sightings\": %lld, \"distinct\": %lld, \"concepts\": %lld, "
               "\"rare\": %lld, \"stopped\": %lld, \"short\": %lld, \"long\": %lld, \"plurals\": %lld, "
               "\"unchanged\": %s}\n",
               (long long)report.captions, (long long)report.sightings, (long long)report.distinct,
               (long long)report.kept, (long long)report.cut[VOCABULARY_RARE], (long long)report.cut[VOCABULARY_STOP],
               (long long)report.cut[VOCABULARY_SHORT], (long long)report.cut[VOCABULARY_LONG],
               (long long)report.cut[VOCABULARY_PLURAL], report.unchanged ? "true" : "false");
    } else if (report.unchanged) {
        vc_info("parse: nothing to do, the vocabulary of %lld concepts is up to date", (long long)report.kept);
    } else if (o->file_count > 0) {
        vc_info("parse: %lld concepts from '%s'%s", (long long)report.kept, o->files[0],
                o->file_count > 1 ? " and others" : "");
    } else {
        vc_info("parse: %lld captions, %lld different concepts, %lld kept (seen at least %lld times)",
                (long long)report.captions, (long long)report.distinct, (long long)report.kept,
                (long long)o->min_count);
    }
    return true;
}

// The options of parse, and what they are gathered in first.
typedef struct {
    VocabularyOptions o;
    CliList files, merge;
    const char *letter_case;
} ParseOptions;

#define PARSE_OPTIONS(p)                                                                                              \
    {"min-count", 0, CLI_INT, &(p).o.min_count, "N", "keep concepts seen at least N times", 1, 1e15},                 \
        {"attributes", 0, CLI_FLAG, &(p).o.attributes, NULL, "count attributes too (\"women Two\")", 0, 0},           \
        {"relations", 0, CLI_FLAG, &(p).o.relations, NULL, "count relations too (\"girl climbing stairs\")", 0, 0},   \
        {"pronouns", 0, CLI_FLAG, &(p).o.keep_pronouns, NULL, "keep pronouns, as the original does", 0, 0},           \
        {"parser", 0, CLI_STRING, &(p).o.parser, "FILE", "a model of 'vicha concepts train-parser'", 0, 0},           \
        {"count-split", 0, CLI_STRING, &(p).o.split, "NAME", "count only captions of this split (train)", 0, 0},      \
        {"vocabulary",                                                                                                \
         0,                                                                                                           \
         CLI_LIST,                                                                                                    \
         &(p).files,                                                                                                  \
         "FILE|DIR",                                                                                                  \
         "use these concepts, or a workspace's, instead of counting (repeatable)",                                    \
         0,                                                                                                           \
         0},                                                                                                          \
        {"merge", 0, CLI_LIST, &(p).merge, "FILE|DIR", "add the counts of a vocabulary or workspace", 0, 0},          \
        {"stop", 0, CLI_STRING, &(p).o.stop, "FILE", "leave these concepts out", 0, 0},                               \
        {"min-length", 0, CLI_INT, &(p).o.min_length, "N", "leave shorter ones out, characters", 0, 1e6},             \
        {"max-length", 0, CLI_INT, &(p).o.max_length, "N", "leave longer ones out; 0: none", 0, 1e6},                 \
        {"case", 0, CLI_STRING, &(p).letter_case, "HOW", "reference (only concepts lower-cased), lower, keep", 0, 0}, \
        {"merge-plurals",                                                                                             \
         0,                                                                                                           \
         CLI_FLAG,                                                                                                    \
         &(p).o.merge_plurals,                                                                                        \
         NULL,                                                                                                        \
         "count \"dogs\" as \"dog\" where both are seen",                                                             \
         0,                                                                                                           \
         0},                                                                                                          \
    {                                                                                                                 \
        "cut", 0, CLI_STRING, &(p).o.cut, "FILE", "write what was left out: concept, count, cause", 0, 0              \
    }

static bool gather(ParseOptions *p, VcErr *err)
{
    static const char *const names[] = {"reference", "lower", "keep"};
    size_t i = 0;
    while (i < 3 && strcmp(p->letter_case, names[i]) != 0)
        i++;
    if (i == 3)
        return vc_fail(err, VC_ERR_USAGE, "--case '%s' is not known; use reference, lower or keep", p->letter_case);
    p->o.letter_case = (VocabularyCase)i;
    p->o.files = p->files.items;
    p->o.file_count = p->files.count;
    p->o.merge = p->merge.items;
    p->o.merge_count = p->merge.count;
    if (p->o.max_length > 0 && p->o.max_length < p->o.min_length)
        return vc_fail(err, VC_ERR_USAGE, "--max-length is smaller than --min-length");
    return true;
}

static void free_lists(ParseOptions *p)
{
    free(p->files.items);
    free(p->merge.items);
}

static const char parse_details[] =
    "Counts the concepts of all captions of stored images, in caption order, and keeps those seen at least N times,\n"
    "most frequent first, ties by first sighting. ViCHA's counter starts at 0 on the first sighting and keeps what is\n"
    "over its threshold, so N = threshold + 2: its threshold 0 (COCO, SBU, VG) is --min-count 2, its threshold 2 "
    "(CC3M)\n"
    "is --min-count 4. A vocabulary that changes makes concept vectors and mined concepts of before invalid: they are\n"
    "dropped, with a warning.\n"
    "A FILE of --vocabulary or --merge has one concept a line, maybe with a tab and its count behind, or is a JSON "
    "list,\n"
    "or a JSON object of counts; --merge needs counts, and --min-count is for the sums. Several --vocabulary are put\n"
    "together: by falling count if all have counts, else in their order, --min-count then says nothing. A folder is a\n"
    "workspace, whose vocabulary is taken. A task's data take theirs from captions: VQA and RefCOCO+ from COCO's, "
    "SNLI-VE\n"
    "from Flickr30k's training part, VG-QA from VG's; NLVR2 counts its own training sentences (--count-split train).";

static int cmd_concepts_parse(int argc, char **argv)
{
    static const CliHelp help = {.name = "concepts parse",
                                 .summary = "captions to a concept vocabulary with counts",
                                 .usage = "[options]",
                                 .details = parse_details,
                                 .example = "  vicha concepts parse -w ws --min-count 4"};
    ParseOptions p = {.o = {.min_count = 2}, .letter_case = "reference"};
    const CliOption options[] = {PARSE_OPTIONS(p), {0}};
    Run r = {0};
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&r.ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    bool ok = gather(&p, &err) && begin(&r, &err) && run_parse(&r, &p.o, &err);
    free_lists(&p);
    return end(&r, ok, &err);
}

// --- embed -----------------------------------------------------------------------------------------------------------

typedef struct {
    const char *clip, *precision;
    int64_t batch;
    bool replace, exact;
} EmbedChoice;

#define EMBED_OPTIONS(o)                                                                                               \
    {"clip", 0, CLI_STRING, &(o).clip, "MODEL", "folder of a CLIP model, or its name in the hub's cache", 0, 0},       \
        {"precision", 0, CLI_STRING, &(o).precision, "P", "fp32, bf16, int8, or auto (see concepts embed)", 0, 0},     \
        {"batch", 0, CLI_INT, &(o).batch, "N", "at most N images under way at once (default: what is fast)", 1, 4096}, \
        {"exact-preprocess", 0, CLI_FLAG, &(o).exact, NULL, "pixels bit-equal to Pillow's at any precision", 0, 0},    \
    {                                                                                                                  \
        "replace", 0, CLI_FLAG, &(o).replace, NULL, "another model: embed and mine everything again", 0, 0             \
    }

static bool check_embed(const EmbedChoice *o, VcErr *err)
{
    if (!o->clip)
        return vc_fail(err, VC_ERR_USAGE, "--clip MODEL is missing: the folder of a CLIP model");
    ClipPrecision p;
    if (strcmp(o->precision, "auto") != 0 && !clip_precision_by_name(o->precision, &p)) {
        return vc_fail(err, VC_ERR_USAGE, "--precision '%s' is not known; use fp32, bf16, int8 or auto", o->precision);
    }
    return true;
}

static bool run_embed(Run *r, const EmbedChoice *o, VcErr *err)
{
    ConceptsEmbedReport report;
    ConceptsEmbedOptions options = {
        .model = o->clip, .batch = (size_t)o->batch, .replace = o->replace, .exact = o->exact, .pool = r->pool};
    options.automatic = !clip_precision_by_name(o->precision, &options.precision); // checked: auto, then
    bool ok = concepts_embed(&r->ws, &options, &report, err);
    r->rejected = r->rejected || report.rejected > 0;
    if (ok && r->ctx.json) {
        printf(
            "{\"step\": \"embed\", \"images\": %lld, \"rejected\": %lld, \"images_total\": %lld, \"concepts\": %lld, "
            "\"image_seconds\": %.3f, \"read_seconds\": %.3f, \"encode_seconds\": %.3f, \"commit_seconds\": %.3f, "
            "\"concept_seconds\": %.3f, \"precision\": \"%s\"%s%s%s}\n",
            (long long)report.images, (long long)report.rejected, (long long)report.images_total,
            (long long)report.concepts, report.image_seconds, report.read_seconds, report.encode_seconds,
            report.commit_seconds, report.concept_seconds, clip_precision_name(report.precision),
            report.why[0] ? ", \"why\": \"" : "", report.why, report.why[0] ? "\"" : "");
    } else if (ok && report.images + report.rejected + report.concepts == 0) {
        vc_info("embed: nothing to do, %lld images have a vector", (long long)report.images_total);
    } else if (ok) {
        vc_info("embed: %lld images (%.1f/s), %lld concepts, %lld images rejected", (long long)report.images,
                report.image_seconds > 0 ? (double)report.images / report.image_seconds : 0, (long long)report.concepts,
                (long long)report.rejected);
    }
    return ok;
}

static int cmd_concepts_embed(int argc, char **argv)
{
    static const CliHelp help = {
        .name = "concepts embed",
        .summary = "images and concepts to CLIP vectors",
        .usage = "--clip MODEL [options]",
        .details =
            "Images are preprocessed as CLIP does it: bit-equal to Pillow at fp32 and with --exact-preprocess. At\n"
            "bf16 and int8 a JPEG of at least 896 pixels each way (four times the model's side, where that is more) "
            "is\n"
            "decoded at 1/2, 1/4 or 1/8 of its size; cosine with the exact one at least 0.9998, as bf16's with fp32.\n"
            "A concept is embedded as its bare text, without a template.\n"
            "--precision bf16 is about twice and int8 four times as fast as fp32 on processors with instructions for "
            "them;\n"
            "int8 is calibrated on the workspace's own images. auto embeds a sample of them in all three and takes "
            "the\n"
            "fastest that gives at least 99 % of the sample the same 15 best concepts as fp32, and says so.\n"
            "Vectors go to vectors/*.f16 (docs/FORMATS.md). A killed run goes on where it stopped. A stored image\n"
            "that cannot be decoded is rejected with its cause (exit status 3). A workspace has one model: another\n"
            "one is refused unless --replace.",
        .example = "  vicha concepts embed -w ws --clip models/vit-b-16"};
    EmbedChoice o = {.precision = "fp32"};
    const CliOption options[] = {EMBED_OPTIONS(o), {0}};
    Run r = {0};
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&r.ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    bool ok = check_embed(&o, &err) && begin(&r, &err) && run_embed(&r, &o, &err);
    return end(&r, ok, &err);
}

// --- mine ------------------------------------------------------------------------------------------------------------

static bool run_mine(Run *r, int64_t k, const CliOption *options, VcErr *err)
{
    cli_settings_json(&r->settings, options);
    ConceptsMineReport report;
    const ConceptsMineOptions o = {.k = (size_t)k, .settings = r->settings.data, .pool = r->pool};
    if (!concepts_mine(&r->ws, &o, &report, err))
        return false;
    if (report.k < (size_t)k)
        vc_warn("there are only %zu concepts: every image gets all of them", report.k);
    if (r->ctx.json) {
        printf("{\"step\": \"mine\", \"images\": %lld, \"images_total\": %lld, \"concepts\": %lld, \"k\": %zu, "
               "\"seconds\": %.3f}\n",
               (long long)report.images, (long long)report.images_total, (long long)report.concepts, report.k,
               report.seconds);
    } else if (report.images == 0) {
        vc_info("mine: nothing to do, %lld images have their concepts", (long long)report.images_total);
    } else {
        vc_info("mine: the %zu best of %lld concepts for %lld images in %.1f s", report.k, (long long)report.concepts,
                (long long)report.images, report.seconds);
    }
    return true;
}

#define MINE_OPTIONS(k)                                                  \
    {                                                                    \
        "k", 'k', CLI_INT, &(k), "K", "concepts of each image", 1, 10000 \
    }

static int cmd_concepts_mine(int argc, char **argv)
{
    static const CliHelp help = {
        .name = "concepts mine",
        .summary = "the best concepts of every image, into vicha.db",
        .usage = "[options]",
        .details =
            "Cosine of every image with every concept; the K best go to table image_concept, equal scores by rising\n"
            "concept number. Then the indexes for looking things up are built. Another K, model or vocabulary\n"
            "starts a new run and replaces the one before.",
        .example = "  vicha concepts mine -w ws -k 15"};
    int64_t k = 15;
    const CliOption options[] = {MINE_OPTIONS(k), {0}};
    Run r = {0};
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&r.ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    bool ok = begin(&r, &err) && run_mine(&r, k, options, &err);
    return end(&r, ok, &err);
}

// --- the three in a row ----------------------------------------------------------------------------------------------

// Without a word about parsing, the vocabulary that is there keeps its settings, and one from a file is kept.
static bool run_parse_as_before(Run *r, VocabularyOptions *o, bool given, VcErr *err)
{
    bool fixed = false, found = false;
    if (!given && !vocabulary_settings(&r->ws, o, &fixed, &found, err))
        return false;
    if (fixed) {
        vc_info("parse: the vocabulary made by 'vicha concepts parse' with its options is kept as it is");
        return true;
    }
    return run_parse(r, o, err);
}

static int concepts_all(int argc, char **argv)
{
    static const CliHelp help = {
        .name = "concepts",
        .summary = "parse, embed and mine in a row",
        .usage = "--clip MODEL [options]\n       vicha concepts parse|embed|mine|list|show|of [options]",
        .details =
            "The three steps, each as its own command explains: 'vicha concepts parse --help', 'embed', 'mine'.\n"
            "And to look at the results: 'vicha concepts list', 'show CONCEPT', 'of IMAGE'.",
        .example = "  vicha concepts -w ws --clip models/vit-b-16"};
    ParseOptions p = {.o = {.min_count = 0}, .letter_case = "reference"};
    EmbedChoice e = {.precision = "fp32"};
    int64_t k = 15;
    const CliOption options[] = {PARSE_OPTIONS(p), EMBED_OPTIONS(e), MINE_OPTIONS(k), {0}};
    Run r = {0};
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&r.ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    bool ok = gather(&p, &err) && check_embed(&e, &err) && begin(&r, &err);
    VocabularyOptions *v = &p.o;
    bool given = v->min_count || v->split || v->attributes || v->relations || v->keep_pronouns || v->file_count ||
                 v->merge_count || v->stop || v->min_length || v->max_length || v->letter_case || v->merge_plurals ||
                 v->parser || v->cut;
    v->min_count = v->min_count ? v->min_count : 2;
    ok = ok && run_parse_as_before(&r, v, given, &err) && run_embed(&r, &e, &err) && run_mine(&r, k, options, &err);
    free_lists(&p);
    return end(&r, ok, &err);
}

int cmd_concepts(int argc, char **argv)
{
    static const CliCommand commands[] = {
        {"parse", cmd_concepts_parse, "captions to a concept vocabulary with counts"},
        {"embed", cmd_concepts_embed, "images and concepts to CLIP vectors"},
        {"mine", cmd_concepts_mine, "the best concepts of every image"},
        {"list", cmd_concepts_list, "the vocabulary"},
        {"show", cmd_concepts_show, "a concept's images"},
        {"of", cmd_concepts_of, "an image's concepts"},
        {"train-parser", cmd_concepts_train_parser, "annotated captions to a model of the caption parser"},
    };
    if (argc > 1 && argv[1][0] == '-')
        return concepts_all(argc, argv);
    return cli_group("concepts", commands, sizeof commands / sizeof *commands,
                     "visual concepts of a workspace ('vicha concepts --clip MODEL' does parse, embed and mine)", argc,
                     argv);
}
