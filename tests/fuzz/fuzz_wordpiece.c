// SPDX-License-Identifier: MIT
// A vocabulary, a zero byte, a text: the vocabulary is refused, or every id of the text is one of its pieces, and a cut
// is the beginning of the whole.
#include "index/index.h"

#include "base/mem.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = memchr(data, 0, size);
    size_t n = zero != NULL ? (size_t)(zero - data) : size, rest = zero != NULL ? size - n - 1 : 0;
    char *vocabulary = vc_alloc(n + (n == 0), 1), *text = vc_alloc(rest + (rest == 0), 1);
    memcpy(vocabulary, data, n);
    if (rest > 0)
        memcpy(text, zero + 1, rest);
    VcStr clean = {0};
    index_clean_caption(&clean, text, rest, INDEX_CAPTION_WORDS);
    VC_ASSERT(vc_utf8_valid(vc_str_get(&clean), clean.len));
    Wordpiece *wp = NULL;
    VcErr err = {0};
    if (wordpiece_open_memory(&wp, vocabulary, n, "input", &err)) {
        size_t cap = 4 * rest + 2, whole;
        int32_t *ids = vc_alloc(cap, sizeof *ids), cut[5];
        size_t count = wordpiece_encode(wp, text, rest, WORDPIECE_ADD_CLS | WORDPIECE_ADD_SEP, ids, cap, &whole);
        VC_ASSERT(count == whole && count >= 2);
        for (size_t i = 0; i < count; i++)
            VC_ASSERT(wordpiece_piece(wp, ids[i]) != NULL);
        size_t some = wordpiece_encode(wp, text, rest, WORDPIECE_ADD_CLS, cut, 5, NULL);
        VC_ASSERT(some == (count - 1 < 5 ? count - 1 : 5) && memcmp(cut, ids, some * sizeof *ids) == 0);
        free(ids);
    } else {
        VC_ASSERT(err.code != VC_OK && err.text[0] != 0 && wp == NULL);
    }
    wordpiece_close(&wp);
    vc_str_finish(&clean);
    free(vocabulary);
    free(text);
    return 0;
}
