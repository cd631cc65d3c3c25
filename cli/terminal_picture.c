// SPDX-License-Identifier: MIT
#include "cli/terminal_picture.h"

#include "base/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

void cli_put_base64(VcStr *out, const uint8_t *data, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)data[i] << 16 | (i + 1 < n ? (uint32_t)data[i + 1] << 8 : 0) |
                     (i + 2 < n ? (uint32_t)data[i + 2] : 0);
        char four[4] = {digits[v >> 18], digits[v >> 12 & 63], i + 1 < n ? digits[v >> 6 & 63] : '=',
                        i + 2 < n ? digits[v & 63] : '='};
        vc_str_putn(out, four, 4);
    }
}

// --- what the terminal can do ----------------------------------------------------------------------------------------

// The answer to "what are you" is ESC [ ? 62 ; 4 ; 22 c: attribute 4 is sixel.
static bool says_sixel(const char *answer)
{
    const char *at = strstr(answer, "\033[?");
    for (at = at ? at + 3 : NULL; at && *at && *at != 'c';) {
        size_t n = strspn(at, "0123456789");
        if (n == 1 && *at == '4')
            return true;
        at += n;
        at += *at == ';';
        if (n == 0)
            break;
    }
    return false;
}

static bool ask_terminal(void)
{
    enum { WAIT_MS = 200 };
    int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios old, raw;
    if (fd < 0 || tcgetattr(fd, &old) != 0) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    raw = old;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    char answer[128] = {0};
    size_t n = 0;
    if (tcsetattr(fd, TCSANOW, &raw) == 0 && write(fd, "\033[c", 3) == 3) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        while (n + 1 < sizeof answer && !strchr(answer, 'c') && poll(&p, 1, WAIT_MS) > 0) {
            ssize_t got = read(fd, answer + n, sizeof answer - 1 - n);
            if (got <= 0)
                break;
            n += (size_t)got;
        }
    }
    tcsetattr(fd, TCSANOW, &old);
    close(fd);
    return says_sixel(answer);
}

static bool variable_is(const char *name, const char *value)
{
    const char *v = getenv(name);
    return v && strcmp(v, value) == 0;
}

static CliPictures detect(void)
{
    const char *term = getenv("TERM");
    // A multiplexer does not pass the pictures on.
    if (!isatty(STDOUT_FILENO) || !term || strcmp(term, "dumb") == 0 || getenv("TMUX") || vc_has_prefix(term, "screen"))
        return CLI_PICTURES_NONE;
    if (getenv("KITTY_WINDOW_ID") || strstr(term, "kitty") || strstr(term, "ghostty") ||
        variable_is("TERM_PROGRAM", "ghostty") || variable_is("TERM_PROGRAM", "WezTerm"))
        return CLI_PICTURES_KITTY;
    if (strstr(term, "sixel") || vc_has_prefix(term, "foot") || vc_has_prefix(term, "mlterm") || ask_terminal())
        return CLI_PICTURES_SIXEL;
    return CLI_PICTURES_NONE;
}

bool cli_choose_pictures(const char *choice, CliPictures *out, VcErr *err)
{
    if (strcmp(choice, "auto") == 0) {
        *out = detect();
    } else if (strcmp(choice, "kitty") == 0) {
        *out = CLI_PICTURES_KITTY;
    } else if (strcmp(choice, "sixel") == 0) {
        *out = CLI_PICTURES_SIXEL;
    } else if (strcmp(choice, "none") == 0) {
        *out = CLI_PICTURES_NONE;
    } else {
        return vc_fail(err, VC_ERR_USAGE, "--thumbnails '%s' is not known; use auto, kitty, sixel or none", choice);
    }
    return true;
}

// --- kitty -----------------------------------------------------------------------------------------------------------

// Raw RGB in chunks of at most 4096 characters of base64; m=1 says that more follow.
static void put_kitty(VcStr *out, const uint8_t *rgb, int width, int height)
{
    enum { CHUNK = 3072 };
    size_t n = (size_t)width * (size_t)height * 3;
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t part = n - at < CHUNK ? n - at : CHUNK;
        vc_str_put(out, "\033_G");
        if (at == 0)
            vc_str_putf(out, "a=T,q=2,f=24,s=%d,v=%d,", width, height);
        vc_str_putf(out, "m=%d;", at + part < n);
        cli_put_base64(out, rgb + at, part);
        vc_str_put(out, "\033\\");
    }
    vc_str_putc(out, '\n');
}

// --- sixel -----------------------------------------------------------------------------------------------------------

enum { LEVELS = 6, COLOURS = LEVELS * LEVELS * LEVELS };

// Each pixel's colour of a cube of 6 x 6 x 6, with the error spread to its neighbours (Floyd and Steinberg, 1976).
static uint8_t *choose_colours(const uint8_t *rgb, int width, int height)
{
    size_t line = ((size_t)width + 2) * 3;
    uint8_t *out = vc_alloc((size_t)width * (size_t)height, 1);
    int *error = vc_calloc(2 * line, sizeof *error); // of this line and the next, in sixteenths, one pixel of border
    for (int y = 0; y < height; y++) {
        int *now = error + (size_t)(y % 2) * line + 3, *below = error + (size_t)((y + 1) % 2) * line + 3;
        memset(below - 3, 0, line * sizeof *below);
        for (int x = 0; x < width; x++) {
            int index = 0;
            for (int c = 0; c < 3; c++) {
                int v = rgb[((size_t)y * (size_t)width + (size_t)x) * 3 + (size_t)c] + now[x * 3 + c] / 16;
                v = v < 0 ? 0 : v > 255 ? 255 : v;
                int level = (v * (LEVELS - 1) + 127) / 255, e = v - level * 255 / (LEVELS - 1);
                index = index * LEVELS + level;
                now[(x + 1) * 3 + c] += e * 7;
                below[(x - 1) * 3 + c] += e * 3;
                below[x * 3 + c] += e * 5;
                below[(x + 1) * 3 + c] += e;
            }
            out[(size_t)y * (size_t)width + (size_t)x] = (uint8_t)index;
        }
    }
    free(error);
    return out;
}

static void put_run(VcStr *out, char six, int count)
{
    if (count > 3) {
        vc_str_putf(out, "!%d%c", count, six);
    } else {
        for (int i = 0; i < count; i++)
            vc_str_putc(out, six);
    }
}

// One colour's dots in six lines.
static void put_band(VcStr *out, const uint8_t *colours, int width, int lines, int colour)
{
    char last = 0;
    int count = 0;
    vc_str_putf(out, "#%d", colour);
    for (int x = 0; x < width; x++) {
        int dots = 0;
        for (int k = 0; k < lines; k++)
            dots |= (colours[(size_t)k * (size_t)width + (size_t)x] == colour) << k;
        char six = (char)(63 + dots);
        if (count > 0 && six != last) {
            put_run(out, last, count);
            count = 0;
        }
        last = six;
        count++;
    }
    put_run(out, last, count);
    vc_str_putc(out, '$');
}

static void put_sixel(VcStr *out, const uint8_t *rgb, int width, int height)
{
    uint8_t *colours = choose_colours(rgb, width, height);
    vc_str_putf(out, "\033Pq\"1;1;%d;%d", width, height);
    for (int i = 0; i < COLOURS; i++) {
        vc_str_putf(out, "#%d;2;%d;%d;%d", i, i / (LEVELS * LEVELS) * 100 / (LEVELS - 1),
                    i / LEVELS % LEVELS * 100 / (LEVELS - 1), i % LEVELS * 100 / (LEVELS - 1));
    }
    for (int y = 0; y < height; y += 6) {
        int lines = height - y < 6 ? height - y : 6;
        const uint8_t *band = colours + (size_t)y * (size_t)width;
        bool used[COLOURS] = {false};
        for (int i = 0; i < lines * width; i++)
            used[band[i]] = true;
        for (int c = 0; c < COLOURS; c++) {
            if (used[c])
                put_band(out, band, width, lines, c);
        }
        vc_str_putc(out, '-');
    }
    vc_str_put(out, "\033\\\n");
    free(colours);
}

void cli_put_picture(VcStr *out, CliPictures how, const uint8_t *rgb, int width, int height)
{
    if (how == CLI_PICTURES_KITTY)
        put_kitty(out, rgb, width, height);
    if (how == CLI_PICTURES_SIXEL)
        put_sixel(out, rgb, width, height);
}
