// SPDX-License-Identifier: MIT
// What CLIP's tokenizers do to a text before it is cut: any bytes, three ways, and twice gives what once gave where
// that must hold.
#include "base/err.h"
#include "concepts/text_clean.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void (*const ways[])(Runes *) = {text_clean_hf, text_clean_openclip, text_html_unescape};
    for (int i = 0; i < 3; i++) {
        Runes r = {0};
        runes_put_utf8(&r, (const char *)data, size);
        ways[i](&r);
        for (size_t k = 0; k < r.len; k++) {
            VC_ASSERT(r.data[k] <= 0x10FFFF && !(r.data[k] >= 0xD800 && r.data[k] <= 0xDFFF));
            // One space at most between words; HF keeps one at either end, open_clip none.
            VC_ASSERT(i == 2 || r.data[k] == ' ' || !text_is_space(r.data[k]));
            VC_ASSERT(i == 2 || k == 0 || r.data[k] != ' ' || r.data[k - 1] != ' ');
        }
        VC_ASSERT(i != 1 || r.len == 0 || (r.data[0] != ' ' && r.data[r.len - 1] != ' '));
        runes_finish(&r);
    }
    return 0;
}
