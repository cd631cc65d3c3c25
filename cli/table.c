// SPDX-License-Identifier: MIT
#include "cli/table.h"

#include "base/err.h"
#include "base/mem.h"

#include <stdarg.h>
#include <sys/ioctl.h>
#include <unistd.h>

// Columns of a code point after UAX #11, in ranges that matter: 0 for marks that join, 2 for wide scripts and emoji.
static size_t width_of(uint32_t c)
{
    static const uint32_t none[][2] = {{0x300, 0x36F}, {0x200B, 0x200F}, {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}};
    static const uint32_t wide[][2] = {{0x1100, 0x115F},   {0x2E80, 0xA4CF},   {0xAC00, 0xD7A3},  {0xF900, 0xFAFF},
                                       {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},  {0x1F300, 0x1F64F},
                                       {0x1F680, 0x1F6FF}, {0x1F900, 0x1FAFF}, {0x20000, 0x3FFFD}};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        if (c >= none[i][0] && c <= none[i][1])
            return 0;
    }
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        if (c >= wide[i][0] && c <= wide[i][1])
            return 2;
    }
    return 1;
}

static bool is_harmful(uint32_t c)
{
    return c < 32 || (c >= 127 && c < 160) || (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) ||
           c == 0x2028 || c == 0x2029 || c == 0x200E || c == 0x200F;
}

void cli_put_safe(VcStr *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t l = vc_utf8_decode(text + i, n - i, &c);
        if (l == 0) {
            vc_str_put(out, "\xEF\xBF\xBD");
        } else if (c == '\n' || c == '\r' || c == '\t') {
            vc_str_putc(out, ' ');
        } else if (is_harmful(c)) {
            vc_str_putf(out, c < 256 ? "\\x%02x" : "\\u{%x}", c);
        } else {
            vc_str_putn(out, text + i, l);
        }
        i += l ? l : 1;
    }
}

size_t cli_text_width(const char *text)
{
    size_t n = strlen(text), width = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t l = vc_utf8_decode(text + i, n - i, &c);
        width += l ? width_of(c) : 1;
        i += l ? l : 1;
    }
    return width;
}

void cli_put_csv(VcStr *out, const char *text)
{
    vc_str_put_csv(out, text);
}

size_t cli_terminal_width(void)
{
    const char *columns = getenv("COLUMNS");
    int64_t n;
    if (columns && vc_parse_i64(columns, &n) && n >= 20 && n < 10000)
        return (size_t)n;
    struct winsize size;
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20)
        return size.ws_col;
    return 0;
}

void cli_table_put(CliTable *t, const char *text)
{
    VcStr safe = {0};
    cli_put_safe(&safe, text, strlen(text));
    t->cells = vc_grow(t->cells, &t->cell_cap, t->cell_count + 1, sizeof *t->cells);
    t->cells[t->cell_count++] = safe.data ? safe.data : vc_strdup("");
}

void cli_table_putf(CliTable *t, const char *fmt, ...)
{
    VcStr text = {0};
    va_list ap;
    va_start(ap, fmt);
    vc_str_vputf(&text, fmt, ap);
    va_end(ap);
    cli_table_put(t, vc_str_get(&text));
    vc_str_finish(&text);
}

// As much of `text` as fits in `width` columns, with an ellipsis when something is cut, then spaces.
static void put_cell(VcStr *line, const char *text, size_t width, bool right, bool last)
{
    size_t have = cli_text_width(text), n = strlen(text), used = 0, i = 0;
    if (have <= width) {
        for (size_t k = have; right && k < width; k++)
            vc_str_putc(line, ' ');
        vc_str_put(line, text);
        for (size_t k = have; !right && !last && k < width; k++)
            vc_str_putc(line, ' ');
        return;
    }
    while (i < n) {
        uint32_t c = 0;
        size_t l = vc_utf8_decode(text + i, n - i, &c);
        l = l ? l : 1;
        if (used + width_of(c) + 1 > width)
            break;
        used += width_of(c);
        vc_str_putn(line, text + i, l);
        i += l;
    }
    vc_str_put(line, "…");
    for (used++; !last && used < width; used++)
        vc_str_putc(line, ' ');
}

// Cuts the widest of the columns that may shrink, one column at a time, down to 12.
static void fit(const CliTable *t, size_t widths[], size_t width)
{
    for (;;) {
        size_t total = 2 * (t->column_count - 1), widest = t->column_count;
        for (size_t c = 0; c < t->column_count; c++) {
            total += widths[c];
            if (t->columns[c].shrink && widths[c] > 12 && (widest == t->column_count || widths[c] > widths[widest]))
                widest = c;
        }
        if (total <= width || widest == t->column_count)
            return;
        widths[widest]--;
    }
}

void cli_table_end(CliTable *t, FILE *out, size_t width)
{
    size_t widths[CLI_TABLE_COLUMNS], n = t->column_count;
    VC_ASSERT(n > 0 && n <= CLI_TABLE_COLUMNS);
    for (size_t c = 0; c < n; c++)
        widths[c] = cli_text_width(t->columns[c].name);
    for (size_t i = 0; i < t->cell_count; i++) {
        size_t w = cli_text_width(t->cells[i]);
        widths[i % n] = w > widths[i % n] ? w : widths[i % n];
    }
    if (width)
        fit(t, widths, width);
    VcStr line = {0};
    bool headed = false;
    for (size_t c = 0; c < n; c++)
        headed = headed || *t->columns[c].name;
    for (size_t i = headed ? 0 : n; i < n + t->cell_count; i++) {
        size_t c = i % n;
        put_cell(&line, i < n ? t->columns[c].name : t->cells[i - n], widths[c], t->columns[c].right, c + 1 == n);
        vc_str_put(&line, c + 1 == n ? "\n" : "  ");
    }
    fwrite(vc_str_get(&line), 1, line.len, out);
    vc_str_finish(&line);
    for (size_t i = 0; i < t->cell_count; i++)
        free(t->cells[i]);
    free(t->cells);
    t->cells = NULL;
    t->cell_count = t->cell_cap = 0;
}
