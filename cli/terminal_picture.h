// SPDX-License-Identifier: MIT
// Pictures on terminals that can show them: kitty's graphics protocol and sixel. Threads: the main thread only.
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

typedef enum { CLI_PICTURES_NONE, CLI_PICTURES_KITTY, CLI_PICTURES_SIXEL } CliPictures;

// `choice`: auto, kitty, sixel or none. auto looks at standard output (a terminal?), at the environment, and asks the
// terminal itself (primary device attributes, at most 0.2 s).
bool cli_choose_pictures(const char *choice, CliPictures *out, VcErr *err);
// Appends a picture of `height` rows of `width` RGB pixels.
void cli_put_picture(VcStr *out, CliPictures how, const uint8_t *rgb, int width, int height);
void cli_put_base64(VcStr *out, const uint8_t *data, size_t n);
