// SPDX-License-Identifier: MIT
// The files of serve/page/, which the build turns into bytes of the program.
#include "serve/internal.h"

#define PAGE(name)                                  \
    extern const unsigned char serve_page_##name[]; \
    extern const size_t serve_page_##name##_size

PAGE(index_html);
PAGE(style_css);
PAGE(icon_svg);
PAGE(app_js);
PAGE(api_js);
PAGE(browse_js);
PAGE(grid_js);
PAGE(image_js);
PAGE(concept_js);
PAGE(stats_js);
PAGE(runs_js);
PAGE(plot_js);

static const char html[] = "text/html; charset=utf-8", css[] = "text/css; charset=utf-8",
                  svg[] = "image/svg+xml; charset=utf-8", js[] = "text/javascript; charset=utf-8";

static const ServeAsset assets[] = {
    {"/", html, serve_page_index_html, &serve_page_index_html_size},
    {"/style.css", css, serve_page_style_css, &serve_page_style_css_size},
    {"/icon.svg", svg, serve_page_icon_svg, &serve_page_icon_svg_size},
    {"/app.js", js, serve_page_app_js, &serve_page_app_js_size},
    {"/api.js", js, serve_page_api_js, &serve_page_api_js_size},
    {"/browse.js", js, serve_page_browse_js, &serve_page_browse_js_size},
    {"/grid.js", js, serve_page_grid_js, &serve_page_grid_js_size},
    {"/image.js", js, serve_page_image_js, &serve_page_image_js_size},
    {"/concept.js", js, serve_page_concept_js, &serve_page_concept_js_size},
    {"/stats.js", js, serve_page_stats_js, &serve_page_stats_js_size},
    {"/runs.js", js, serve_page_runs_js, &serve_page_runs_js_size},
    {"/plot.js", js, serve_page_plot_js, &serve_page_plot_js_size},
};

const ServeAsset *serve_asset_at(size_t index)
{
    return index < sizeof assets / sizeof *assets ? &assets[index] : NULL;
}

const ServeAsset *serve_asset(const char *path)
{
    for (const ServeAsset *a = assets; a < assets + sizeof assets / sizeof *assets; a++) {
        if (strcmp(a->path, path) == 0)
            return a;
    }
    return NULL;
}
