// SPDX-License-Identifier: MIT
// vicha export: a workspace for other programs.
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "cli/commands.h"
#include "index/index.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const CliHelp help = {
    .name = "export",
    .summary = "for other trainers and tools: vicha-json, webdataset, csv, npy, mds, datasette",
    .usage = "FORMAT [options]",
    .details =
        "vicha-json   the annotation list of ViCHA's and ALBEF's loaders, with the concepts of every image as kwords;\n"
        "             VQA, NLVR2 (kwords1, kwords2), SNLI-VE and RefCOCO+ entries as their sources had them. Objects "
        "of\n"
        "             images without concepts are left out, since those loaders stop at them (--any-concepts: not).\n"
        "             --form source: captions as the source had them, single or in lists; pairs: an object a caption,\n"
        "             with image_id (pretraining, retrieval training); lists: an object an image (retrieval tests).\n"
        "             Images are named as in the source; --root DIR goes before relative names, --images DIR copies "
        "the\n"
        "             stored JPEGs to DIR and names those.\n"
        "webdataset   -o DIR: tar shards KEY.jpg, KEY.txt, KEY.json with captions, concepts and scores\n"
        "csv          a line an image: captions, concepts and scores as JSON lists\n"
        "npy          -o NAME.npy: the images' vectors as float32 (--concepts: those of the vocabulary), with "
        "NAME.ids.npy\n"
        "             and NAME.names.json\n"
        "mds          -o DIR: records that the Python package mosaicml-streaming reads, raw: JPEG, captions, concepts\n"
        "             ('vicha index' makes those for 'vicha train')\n"
        "datasette    metadata.yaml: titles, descriptions and canned queries for 'datasette vicha.db -m "
        "metadata.yaml'\n\n"
        "Images that are stored are written, in the order of their numbers, without the captions that 'vicha filter' "
        "and\n"
        "the images that 'vicha dedup' have marked. Without -o, text goes to standard output.",
    .example = "  vicha export vicha-json -w coco -o coco_train.json --split train\n"
               "  vicha export webdataset -w cc3m -o shards/",
};

typedef struct {
    CliContext ctx;
    ConceptsJsonOptions json;
    const char *out, *form;
    int64_t shard_images;
    uint64_t shard_size;
    bool concepts;
} Choice;

static bool parse_form(const char *name, ConceptsForm *form, VcErr *err)
{
    static const char *const names[] = {"source", "pairs", "lists"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(name, names[i]) == 0) {
            *form = (ConceptsForm)i;
            return true;
        }
    }
    return vc_fail(err, VC_ERR_USAGE, "--form '%s' is not known; use source, pairs or lists", name);
}

static bool need_output(const Choice *c, const char *what, VcErr *err)
{
    return c->out || vc_fail(err, VC_ERR_USAGE, "-o %s is missing", what);
}

typedef bool (*TextExport)(VcWorkspace *ws, const Choice *c, FILE *out, ConceptsExportReport *report, VcErr *err);

static bool export_json(VcWorkspace *ws, const Choice *c, FILE *out, ConceptsExportReport *report, VcErr *err)
{
    return concepts_export_json(ws, &c->json, out, report, err);
}

static bool export_csv(VcWorkspace *ws, const Choice *c, FILE *out, ConceptsExportReport *report, VcErr *err)
{
    return concepts_export_csv(ws, &c->json.selection, out, report, err);
}

static bool export_datasette(VcWorkspace *ws, const Choice *c, FILE *out, ConceptsExportReport *report, VcErr *err)
{
    (void)ws;
    (void)c;
    return concepts_export_datasette(out, report, err);
}

static bool run_text(TextExport run, VcWorkspace *ws, const Choice *c, ConceptsExportReport *report, VcErr *err)
{
    if (!c->out || strcmp(c->out, "-") == 0)
        return run(ws, c, stdout, report, err);
    VcAtomicFile file = {0};
    const bool ok =
        vc_atomic_begin(&file, c->out, err) && run(ws, c, file.file, report, err) && vc_atomic_commit(&file, err);
    vc_atomic_discard(&file);
    return ok;
}

static bool run(VcWorkspace *ws, const char *format, const Choice *c, ConceptsExportReport *report, VcErr *err)
{
    const ConceptsSelection *selection = &c->json.selection;
    if (strcmp(format, "vicha-json") == 0)
        return run_text(export_json, ws, c, report, err);
    if (strcmp(format, "csv") == 0)
        return run_text(export_csv, ws, c, report, err);
    if (strcmp(format, "datasette") == 0)
        return run_text(export_datasette, ws, c, report, err);
    if (strcmp(format, "webdataset") == 0) {
        return need_output(c, "DIR", err) &&
               concepts_export_webdataset(ws, selection, c->out, (uint64_t)c->shard_images, report, err);
    }
    if (strcmp(format, "npy") == 0)
        return need_output(c, "NAME.npy", err) && concepts_export_npy(ws, selection, c->concepts, c->out, report, err);
    return need_output(c, "DIR", err) && index_export_mds(ws, selection, c->out, c->shard_size, report, err);
}

static bool known_format(const char *format, VcErr *err)
{
    static const char *const names[] = {"vicha-json", "webdataset", "csv", "npy", "mds", "datasette"};
    const size_t count = sizeof names / sizeof *names;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(format, names[i]) == 0)
            return true;
    }
    if (strcmp(format, "parquet") == 0) {
        return vc_fail(err, VC_ERR_USAGE,
                       "this program writes no Parquet; docs/exports.md has the three lines that make "
                       "it from the CSV");
    }
    const char *near = cli_nearest(format, names, count);
    return vc_fail(err, VC_ERR_USAGE, "the format '%s' is not known; %s%s%s", format,
                   near ? "did you mean '" : "use vicha-json, webdataset, csv, npy, mds or datasette", near ? near : "",
                   near ? "'?" : "");
}

// With text on standard output, the report may not go there.
static void print_report(const Choice *c, const char *format, const ConceptsExportReport *r)
{
    const bool text =
        strcmp(format, "vicha-json") == 0 || strcmp(format, "csv") == 0 || strcmp(format, "datasette") == 0;
    const bool taken = text && (!c->out || strcmp(c->out, "-") == 0);
    if (r->without_concepts) {
        vc_warn("%" PRIu64 " objects were left out: their images have no concepts ('vicha concepts' finds them; "
                "--any-concepts keeps them)",
                r->without_concepts);
    }
    if (r->incomplete)
        vc_warn("%" PRIu64 " objects were left out: one of their two images is not stored", r->incomplete);
    if (r->links) {
        vc_warn("%" PRIu64 " objects name their image by a URL, which no loader opens; --images DIR writes the files",
                r->links);
    }
    if (c->ctx.json && !taken) {
        printf("{\"format\": \"%s\", \"objects\": %" PRIu64 ", \"without_concepts\": %" PRIu64
               ", \"incomplete\": %" PRIu64 ", \"shards\": %" PRIu64 ", \"bytes\": %" PRIu64 "}\n",
               format, r->objects ? r->objects : r->images, r->without_concepts, r->incomplete, r->shards, r->bytes);
    } else if (!taken) {
        vc_info("export: %" PRIu64 " %s to '%s'", r->objects ? r->objects : r->images,
                r->objects ? "objects" : "images", c->out);
    }
}

int cmd_export(int argc, char **argv)
{
    Choice c = {.form = "source", .shard_images = 10000, .shard_size = 64u << 20};
    ConceptsSelection *s = &c.json.selection;
    const CliOption options[] = {
        {"output", 'o', CLI_STRING, &c.out, "PATH", "file or folder to write", 0, 0},
        {"split", 0, CLI_STRING, &s->split, "NAME", "only images of this split", 0, 0},
        {"source", 0, CLI_STRING, &s->source, "NAME", "only images of this source", 0, 0},
        {"tag", 0, CLI_STRING, &s->tag, "NAME", "only images with this tag", 0, 0},
        {"marked", 0, CLI_FLAG, &s->marked, NULL, "also what filter and dedup have marked", 0, 0},
        {"form", 0, CLI_STRING, &c.form, "FORM", "vicha-json: source | pairs | lists", 0, 0},
        {"root", 0, CLI_STRING, &c.json.root, "DIR", "vicha-json: before relative names of images", 0, 0},
        {"images", 0, CLI_STRING, &c.json.images, "DIR", "vicha-json: copy the stored JPEGs to DIR, name those", 0, 0},
        {"any-concepts", 0, CLI_FLAG, &c.json.any_concepts, NULL, "vicha-json: images without concepts too", 0, 0},
        {"concepts", 0, CLI_FLAG, &c.concepts, NULL, "npy: the vectors of the vocabulary", 0, 0},
        {"shard-images", 0, CLI_INT, &c.shard_images, "N", "webdataset: images in one tar", 1, 1e9},
        {"shard-size", 0, CLI_BYTES, &c.shard_size, "SIZE", "mds: bytes of a shard", 0, 0},
        {0},
    };
    VcErr err = {0};
    bool shown;
    if (!cli_parse(&c.ctx, argc, argv, &help, options, &shown, &err))
        return cli_error(&err);
    if (shown)
        return CLI_OK;
    bool ok = c.ctx.argc == 1 || vc_fail(&err, VC_ERR_USAGE,
                                         "expected one FORMAT: vicha-json, webdataset, csv, npy, mds "
                                         "or datasette");
    ok = ok && known_format(c.ctx.argv[0], &err) && parse_form(c.form, &c.json.form, &err);
    VcWorkspace ws = {0};
    ConceptsExportReport report = {0};
    ok = ok && vc_workspace_open(&ws, c.ctx.workspace, VC_DB_READ, &err);
    if (ok) {
        ok = run(&ws, c.ctx.argv[0], &c, &report, &err);
        vc_workspace_close(&ws);
    }
    if (ok)
        print_report(&c, c.ctx.argv[0], &report);
    cli_context_finish(&c.ctx);
    return !ok ? cli_error(&err) : report.without_concepts + report.incomplete ? CLI_REJECTED : CLI_OK;
}
