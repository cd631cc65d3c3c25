// SPDX-License-Identifier: MIT
// Any bytes as a packed caption model, with its check sum mended so that damage reaches the reader: refused, or a model
// that labels any caption with what there is.
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "concepts/caption_model.h"
#include "tests/fuzz/target.h"

#include <stdlib.h>
#include <string.h>

enum { HASH_AT = 12, HEADER = 20, WORDS = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *bytes = vc_alloc(size + 1, 1);
    memcpy(bytes, data, size);
    if (size >= HEADER) {
        uint64_t hash = vc_xxh64(bytes + HEADER, size - HEADER);
        for (int i = 0; i < 8; i++)
            bytes[HASH_AT + i] = (uint8_t)(hash >> 8 * i);
    }
    VcErr err = {0};
    CaptionModel *model = caption_model_read(bytes, size, "input", &err);
    VC_ASSERT(model || err.text[0]);
    if (model) {
        static const char text[WORDS][8] = {"A", "dog", "runs", "in", "the", "red", "park", "."};
        CaptionToken tokens[WORDS];
        CaptionWord words[WORDS + 2 * CAPTION_PAD];
        CaptionTree tree = {0};
        for (size_t i = 0; i < WORDS; i++)
            tokens[i] = (CaptionToken){text[i], (uint32_t)strlen(text[i]), true};
        caption_words(tokens, WORDS, words);
        caption_model_tag(model, words + CAPTION_PAD, WORDS);
        caption_model_roles(model, words + CAPTION_PAD, WORDS);
        caption_model_tree(model, words + CAPTION_PAD, WORDS, &tree);
        for (size_t i = 0; i < WORDS; i++) {
            const CaptionWord *w = &words[CAPTION_PAD + i];
            VC_ASSERT(w->tag < CAPTION_TAGS && w->role < CAPTION_ROLES);
            VC_ASSERT(tree.a.head[i] >= 0 && tree.a.head[i] <= WORDS && tree.a.dep[i] < CAPTION_DEPS);
        }
        caption_tree_finish(&tree);
        caption_model_destroy(&model);
    }
    free(bytes);
    return 0;
}
