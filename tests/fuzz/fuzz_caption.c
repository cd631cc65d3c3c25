// SPDX-License-Identifier: MIT
// Any bytes as a caption: every token lies in the repaired text, in order, and every string of the answer is UTF-8
// without control characters.
#include "concepts/concepts.h"

#include "base/err.h"
#include "base/str.h"
#include "tests/fuzz/target.h"

static void check(const char *text)
{
    size_t n = strlen(text);
    VC_ASSERT(n > 0 && vc_utf8_valid(text, n));
    for (size_t i = 0; i < n; i++)
        VC_ASSERT((unsigned char)text[i] >= ' ');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    // The tables are read once for all inputs.
    static CaptionParser *parser;
    if (!parser)
        parser = caption_parser_create();
    const char *text = (const char *)data;
    const CaptionToken *tokens;
    size_t n = caption_tokenize(parser, text, size, &tokens), bytes = 0;
    for (size_t i = 0; i < n; i++) {
        VC_ASSERT(tokens[i].length > 0 && vc_utf8_valid(tokens[i].text, tokens[i].length));
        VC_ASSERT(i == 0 || tokens[i].text >= tokens[i - 1].text + tokens[i - 1].length);
        bytes += tokens[i].length;
    }
    VC_ASSERT(bytes <= 3 * size); // a bad byte becomes three
    CaptionParse parse;
    caption_parse(parser, text, size, CAPTION_PRONOUNS | CAPTION_RELATIONS, &parse);
    VC_ASSERT(parse.concept_count <= n);
    for (size_t i = 0; i < parse.concept_count; i++)
        check(parse.concepts[i]);
    for (size_t i = 0; i < parse.attribute_count; i++) {
        check(parse.attributes[i].head);
        check(parse.attributes[i].modifier);
    }
    for (size_t i = 0; i < parse.relation_count; i++) {
        check(parse.relations[i].subject);
        check(parse.relations[i].relation);
        check(parse.relations[i].object);
    }
    return 0;
}
