// SPDX-License-Identifier: MIT
#include "cli/query_output.h"

#include "base/log.h"
#include "base/mem.h"
#include "cli/table.h"
#include "cli/terminal_picture.h"

bool cli_parse_format(const char *name, bool json, CliFormat *out, VcErr *err)
{
    static const char *const names[] = {"table", "jsonl", "csv", "paths", "html"};
    for (int i = 0; i < 5; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = json ? CLI_FORMAT_JSONL : (CliFormat)i;
            return true;
        }
    }
    return vc_fail(err, VC_ERR_USAGE, "--format '%s' is not known; use table, jsonl, csv, paths or html", name);
}

static bool is_scored(const QueryPage *page)
{
    return page->order == QUERY_BY_VECTOR || page->order == QUERY_BY_CONCEPTS || page->order == QUERY_BY_BM25;
}

static const char *text_of(const char *text)
{
    return text ? text : "";
}

// "a, b, c", best first.
static void put_concepts(VcStr *out, const QueryHit *h)
{
    for (size_t i = 0; i < h->concept_count; i++)
        vc_str_putf(out, "%s%s", i ? ", " : "", h->concepts[i].text);
}

static void put_member(VcStr *out, const char *key, const char *text)
{
    vc_str_putf(out, ", \"%s\": ", key);
    if (text) {
        vc_str_put_json(out, text, strlen(text), false);
    } else {
        vc_str_put(out, "null");
    }
}

static void put_json_hit(VcStr *out, const QueryPage *page, const QueryHit *h, size_t rank)
{
    VcStr concepts = {0};
    put_concepts(&concepts, h);
    vc_str_putf(out, "{\"rank\": %zu, \"image_id\": %lld, \"score\": ", rank, (long long)h->image_id);
    vc_str_putf(out, is_scored(page) ? "%.6f" : "null", h->score);
    put_member(out, "key", h->key);
    put_member(out, "caption", text_of(h->caption));
    put_member(out, "concepts", vc_str_get(&concepts));
    vc_str_put(out, ", \"concept_scores\": [");
    for (size_t i = 0; i < h->concept_count; i++)
        vc_str_putf(out, "%s%.6f", i ? ", " : "", h->concepts[i].score);
    vc_str_put(out, "]");
    put_member(out, "source", h->source);
    put_member(out, "link", h->uri);
    put_member(out, "split", h->split);
    vc_str_putf(out, ", \"width\": %lld, \"height\": %lld}\n", (long long)h->width, (long long)h->height);
    vc_str_finish(&concepts);
}

static void put_csv_hit(VcStr *out, const QueryPage *page, const QueryHit *h, size_t rank)
{
    VcStr concepts = {0};
    put_concepts(&concepts, h);
    vc_str_putf(out, "%zu,%lld,", rank, (long long)h->image_id);
    vc_str_putf(out, is_scored(page) ? "%.6f," : ",", h->score);
    cli_put_csv(out, h->key);
    vc_str_putc(out, ',');
    cli_put_csv(out, text_of(h->caption));
    vc_str_putc(out, ',');
    cli_put_csv(out, vc_str_get(&concepts));
    vc_str_putc(out, ',');
    cli_put_csv(out, h->source);
    vc_str_putc(out, ',');
    cli_put_csv(out, text_of(h->split));
    vc_str_put(out, "\r\n");
    vc_str_finish(&concepts);
}

static void print_lines(FILE *out, const QueryPage *page, const CliHitsStyle *style)
{
    VcStr text = {0};
    if (style->format == CLI_FORMAT_CSV && style->first <= 1)
        vc_str_put(&text, "rank,image_id,score,key,caption,concepts,source,split\r\n");
    for (size_t i = 0; i < page->count; i++) {
        const QueryHit *h = &page->hits[i];
        if (style->format == CLI_FORMAT_PATHS) {
            vc_str_putf(&text, "%s\n", h->key);
        } else if (style->format == CLI_FORMAT_JSONL) {
            put_json_hit(&text, page, h, style->first + i);
        } else {
            put_csv_hit(&text, page, h, style->first + i);
        }
    }
    fwrite(vc_str_get(&text), 1, text.len, out);
    vc_str_finish(&text);
}

static void print_table(FILE *out, const QueryPage *page, const CliHitsStyle *style)
{
    if (page->count == 0) {
        vc_info(style->first > 1 ? "there are no more images" : "no image matches");
        return;
    }
    CliTable t = {.columns = {{"#", true, false},
                              {"image", true, false},
                              {"score", true, false},
                              {"key", false, true},
                              {"caption", false, true},
                              {"concepts", false, true}},
                  .column_count = 6};
    for (size_t i = 0; i < page->count; i++) {
        const QueryHit *h = &page->hits[i];
        VcStr concepts = {0};
        put_concepts(&concepts, h);
        cli_table_putf(&t, "%zu", style->first + i);
        cli_table_putf(&t, "%lld", (long long)h->image_id);
        cli_table_putf(&t, is_scored(page) ? "%.3f" : "-", h->score);
        cli_table_put(&t, h->key);
        cli_table_put(&t, text_of(h->caption));
        cli_table_put(&t, vc_str_get(&concepts));
        vc_str_finish(&concepts);
    }
    cli_table_end(&t, out, out == stdout ? cli_terminal_width() : 0);
}

// --- HTML ------------------------------------------------------------------------------------------------------------

static void put_picture(VcStr *out, const QueryHit *h, const CliHitsStyle *style)
{
    enum { SIDE = 256 };
    uint8_t *jpeg = NULL;
    size_t n = 0;
    VcErr err = {0};
    if (!query_picture_thumbnail(style->ws, h->image_id, SIDE, &jpeg, &n, &err)) {
        vc_warn("%s", err.text);
        vc_str_put(out, "<div class=none>no picture</div>");
        return;
    }
    vc_str_put(out, "<img alt=\"\" src=\"data:image/jpeg;base64,");
    cli_put_base64(out, jpeg, n);
    vc_str_put(out, "\">");
    free(jpeg);
}

static void put_figure(VcStr *out, const QueryPage *page, const QueryHit *h, size_t rank, const CliHitsStyle *style)
{
    vc_str_put(out, "<figure>");
    put_picture(out, h, style);
    vc_str_putf(out, "<figcaption><b>%zu</b> image %lld", rank, (long long)h->image_id);
    if (is_scored(page))
        vc_str_putf(out, " &middot; %.3f", h->score);
    vc_str_put(out, "<p>");
    vc_str_put_html(out, text_of(h->caption));
    vc_str_put(out, "</p><p class=concepts>");
    for (size_t i = 0; i < h->concept_count; i++) {
        vc_str_put(out, "<span>");
        vc_str_put_html(out, h->concepts[i].text);
        vc_str_putf(out, " <i>%.2f</i></span> ", h->concepts[i].score);
    }
    vc_str_put(out, "</p><p class=key>");
    // Only web addresses become links: a key may be anything.
    bool link = vc_has_prefix(h->uri, "http://") || vc_has_prefix(h->uri, "https://");
    if (link) {
        vc_str_put(out, "<a rel=noreferrer href=\"");
        vc_str_put_html(out, h->uri);
        vc_str_put(out, "\">");
    }
    vc_str_put_html(out, h->key);
    vc_str_put(out, link ? "</a></p>" : "</p>");
    vc_str_put(out, "</figcaption></figure>\n");
}

static void print_html(FILE *out, const QueryPage *page, const CliHitsStyle *style)
{
    VcStr text = {0};
    vc_str_put(&text, "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
                      "<meta name=viewport content=\"width=device-width\">"
                      "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; img-src data:; style-src "
                      "'unsafe-inline'\"><title>");
    vc_str_put_html(&text, style->title);
    vc_str_put(&text,
               "</title><style>body{font:15px/1.4 system-ui,sans-serif;margin:1.5rem;background:#fff;color:#222}"
               "main{display:grid;grid-template-columns:repeat(auto-fill,minmax(16rem,1fr));gap:1rem}"
               "figure{margin:0;border:1px solid #ccc;border-radius:6px;overflow:hidden}"
               "img,.none{display:block;width:100%;height:14rem;object-fit:contain;background:#eee}"
               "figcaption{padding:.6rem}p{margin:.4rem 0;overflow-wrap:anywhere}.key{font-size:12px;color:#555}"
               ".concepts span{display:inline-block;background:#eef;border-radius:3px;padding:0 .3rem;margin:1px}"
               ".concepts i{color:#555;font-style:normal;font-size:12px}"
               "@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}figure{border-color:#444}"
               "img,.none{background:#222}.key,.concepts i{color:#aaa}.concepts span{background:#2a2a40}"
               "a{color:#9cf}}</style></head><body><h1>");
    vc_str_put_html(&text, style->title);
    vc_str_putf(&text, "</h1><p>%zu of %s%lld images</p><main>\n", page->count, page->matched_exact ? "" : "at least ",
                (long long)page->matched);
    for (size_t i = 0; i < page->count; i++) {
        put_figure(&text, page, &page->hits[i], style->first + i, style);
        fwrite(text.data, 1, text.len, out); // pictures are not gathered in memory
        vc_str_clear(&text);
    }
    vc_str_put(&text, "</main></body></html>\n");
    fwrite(text.data, 1, text.len, out);
    vc_str_finish(&text);
}

// Picture by picture with its lines below, for terminals that show pictures.
static void print_pictures(FILE *out, const QueryPage *page, const CliHitsStyle *style)
{
    enum { SIDE = 200 };
    VcStr text = {0};
    for (size_t i = 0; i < page->count; i++) {
        const QueryHit *h = &page->hits[i];
        uint8_t *rgb = NULL;
        int width, height;
        VcErr err = {0};
        if (query_picture_pixels(style->ws, h->image_id, SIDE, &rgb, &width, &height, &err)) {
            cli_put_picture(&text, style->pictures, rgb, width, height);
        } else {
            vc_warn("%s", err.text);
        }
        free(rgb);
        VcStr concepts = {0};
        put_concepts(&concepts, h);
        vc_str_putf(&text, "%zu  image %lld", style->first + i, (long long)h->image_id);
        if (is_scored(page))
            vc_str_putf(&text, "  %.3f", h->score);
        const char *const lines[] = {h->key, text_of(h->caption), vc_str_get(&concepts)};
        for (int k = 0; k < 3; k++) {
            vc_str_put(&text, k == 0 ? "  " : lines[k][0] ? "\n   " : "");
            cli_put_safe(&text, lines[k], strlen(lines[k]));
        }
        vc_str_put(&text, "\n\n");
        vc_str_finish(&concepts);
        fwrite(text.data, 1, text.len, out);
        vc_str_clear(&text);
    }
    vc_str_finish(&text);
}

void cli_print_hits(FILE *out, const QueryPage *page, const CliHitsStyle *style)
{
    if (style->format == CLI_FORMAT_TABLE && style->pictures != CLI_PICTURES_NONE && page->count > 0) {
        print_pictures(out, page, style);
    } else if (style->format == CLI_FORMAT_TABLE) {
        print_table(out, page, style);
    } else if (style->format == CLI_FORMAT_HTML) {
        print_html(out, page, style);
    } else {
        print_lines(out, page, style);
    }
}

void cli_explain(const QueryPage *page)
{
    static const char *const orders[] = {
        [QUERY_BY_ID] = "image number",
        [QUERY_BY_VECTOR] = "cosine with the text or picture, falling",
        [QUERY_BY_CONCEPTS] = "score of the concepts, falling",
        [QUERY_BY_BM25] = "bm25 of the caption, best first",
        [QUERY_BY_CAPTION] = "number of the caption",
    };
    CliTable t = {.columns = {{"ms", true, false}, {"rows", true, false}, {"part", false, true}}, .column_count = 3};
    for (size_t i = 0; i < page->part_count; i++) {
        cli_table_putf(&t, "%.3f", page->parts[i].seconds * 1e3);
        cli_table_putf(&t, page->parts[i].rows < 0 ? "-" : "%lld", (long long)page->parts[i].rows);
        cli_table_put(&t, page->parts[i].what);
    }
    cli_table_putf(&t, "%.3f", page->seconds * 1e3);
    cli_table_putf(&t, page->matched_exact ? "%lld" : ">= %lld", (long long)page->matched);
    cli_table_put(&t, "all of it, matching images");
    fprintf(stderr, "order: %s\n", orders[page->order]);
    cli_table_end(&t, stderr, 0);
}
