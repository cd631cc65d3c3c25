// SPDX-License-Identifier: MIT
// Captions to concepts: own examples, bad bytes, and the golden captions of the reference where they are.
#include "base/file.h"
#include "base/json.h"
#include "concepts/concepts.h"
#include "tests/support/test.h"

#include <strings.h>
#include <zlib.h>

static CaptionParser *parser;

static int make_parser(void **state)
{
    (void)state;
    parser = caption_parser_create();
    return 0;
}

static int drop_parser(void **state)
{
    (void)state;
    caption_parser_destroy(&parser);
    return 0;
}

// Concepts joined by '|'.
static char *concepts_of(const char *caption, size_t n, bool pronouns)
{
    CaptionParse p;
    VcStr out = {0};
    caption_parse(parser, caption, n, pronouns ? CAPTION_PRONOUNS : 0, &p);
    for (size_t i = 0; i < p.concept_count; i++)
        vc_str_putf(&out, "%s%s", i ? "|" : "", p.concepts[i]);
    return out.data ? out.data : vc_strdup("");
}

static char *attributes_of(const char *caption)
{
    CaptionParse p;
    VcStr out = {0};
    caption_parse(parser, caption, strlen(caption), CAPTION_RELATIONS, &p);
    for (size_t i = 0; i < p.attribute_count; i++)
        vc_str_putf(&out, "%s%s:%s", i ? "|" : "", p.attributes[i].head, p.attributes[i].modifier);
    return out.data ? out.data : vc_strdup("");
}

static void own_captions_give_their_heads(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"Two women and a little girl are eating ice cream .", "women|girl|ice cream"},
        {"A black dog jumps up to a man 's uplifted hand .", "dog|hand"},
        {"a red car parked in front of a house", "car|house"},
        {"a group of people on the beach", "group|people|beach"},
        {"a fire department truck", "department truck"}, // a compound of a compound is dropped, as in the reference
        {"a boy in a football t-shirt", "boy|t football shirt"}, // the order of two compounds is reversed, too
        {"a man in a t-shirt", "man|t shirt"},
        {"The man rides a brown horse along the river.", "man|horse|river"},
        {"three small boats on the lake", "boats|lake"},
        {"Children are playing with a ball in the park", "children|ball|park"},
        {"a woman holding an umbrella and a bag", "woman|umbrella|bag"},
        {"a yellow bird sitting on a branch", "bird|branch"},
        {"Men and women are walking down the street .", "men|women|street"},
        {"a cat lying on top of a laptop", "cat|laptop"},
        {"a plate of food on a wooden table", "plate|food|table"},
        {"a traffic light at night", "traffic light|night"},
        {"the dog's tail", "tail"},
        {"a tennis player hits the ball", "tennis player|ball"},
        {"an old train passes the station", "train|station"},
        {"a child and two dogs run through the snow", "child|dogs|snow"},
        {"a boat", "boat"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *got = concepts_of(cases[i][0], strlen(cases[i][0]), false);
        assert_string_equal(got, cases[i][1]);
        free(got);
    }
}

static void pronouns_only_when_asked(void **state)
{
    (void)state;
    const char *caption = "A girl smiles while someone takes a picture of her with it .";
    char *without = concepts_of(caption, strlen(caption), false), *with = concepts_of(caption, strlen(caption), true);
    assert_string_equal(without, "girl|picture");
    assert_string_equal(with, "girl|someone|picture|her|it");
    free(without);
    free(with);
}

static void numbers_and_adjectives_are_attributes(void **state)
{
    (void)state;
    char *got = attributes_of("Two women ride a small brown horse past a wooden fence .");
    assert_string_equal(got, "women:Two|horse:small|horse:brown|fence:wooden");
    free(got);
    got = attributes_of("A street full of cars ."); // a modifier behind its head
    assert_string_equal(got, "street:full");
    free(got);
}

static char *relations_of(const char *caption)
{
    CaptionParse p;
    VcStr out = {0};
    caption_parse(parser, caption, strlen(caption), CAPTION_RELATIONS, &p);
    for (size_t i = 0; i < p.relation_count; i++)
        vc_str_putf(&out, "%s%s:%s:%s", i ? "|" : "", p.relations[i].subject, p.relations[i].relation,
                    p.relations[i].object);
    return out.data ? out.data : vc_strdup("");
}

static void the_tree_relates_heads(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"A dog is jumping in the grass .", "dog:jumping in:grass"},
        {"a woman holding an umbrella", "woman:holding:umbrella"},
        {"A man and a woman are eating doughnuts .", "man:eating:doughnuts|woman:eating:doughnuts"},
        {"a cat on top of a table next to a lamp", "cat:on top of:table|cat:next to:lamp"},
        {"A boy throws a ball and a stick .", "boy:throws:ball|boy:throws:stick"},
        {"a dog , a cat and a bird", ""},
        {"someone holds a ball", ""}, // no pronouns here
        {"a dog", ""},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *got = relations_of(cases[i][0]);
        assert_string_equal(got, cases[i][1]);
        free(got);
    }
}

static void upper_case_does_not_matter_for_the_text(void **state)
{
    (void)state;
    char *got = concepts_of("A DOG and a Caf\xC3\x89", 17, false);
    assert_non_null(strstr(got, "dog"));
    assert_non_null(strstr(got, "caf\xC3\xA9"));
    free(got);
}

// Tokens joined by ' '.
static char *tokens_of(const char *caption)
{
    const CaptionToken *t;
    VcStr out = {0};
    size_t n = caption_tokenize(parser, caption, strlen(caption), &t);
    for (size_t i = 0; i < n; i++) {
        vc_str_put(&out, i ? " " : "");
        vc_str_putn(&out, t[i].text, t[i].length);
    }
    return out.data ? out.data : vc_strdup("");
}

static void tokens_split_where_the_reference_does(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a t-shirt.", "a t - shirt ."},
        {"it's 10km, isn't it?", "it 's 10 km , is n't it ?"},
        {"at 7 a.m. in the U.S. with Mr. Jones", "at 7 a.m. in the U.S. with Mr. Jones"},
        {"(a \"big\" dog)...", "( a \" big \" dog ) ..."},
        {"dont stop; cannot go", "do nt stop ; can not go"},
        {"10am and 3/4", "10 am and 3/4"},
        {"men's $5 and/or 50%", "men 's $ 5 and/or 50 %"},
        {"it\xE2\x80\x99s", "it \xE2\x80\x99s"},
        {"is id well", "is id well"},
        {"dog,cat black/white", "dog , cat black / white"},
        {"wow!!!", "wow ! ! !"},
        {"", ""},
        {" \t\r\n ", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *got = tokens_of(cases[i][0]);
        assert_string_equal(got, cases[i][1]);
        free(got);
    }
}

static void any_bytes_are_a_caption(void **state)
{
    (void)state;
    static const char broken[] = "a d\xFFog \xC3 on\0a \x01 mat \xF0\x9F\x98\x80\xED\xA0\x80";
    char *got = concepts_of(broken, sizeof broken - 1, true);
    assert_true(vc_utf8_valid(got, strlen(got)));
    for (const char *p = got; *p; p++)
        assert_true((unsigned char)*p >= ' ');
    free(got);
    uint64_t x = 88172645463325252u; // all kinds of noise
    for (int round = 0; round < 2000; round++) {
        char noise[64];
        size_t n = (size_t)(x % 64);
        for (size_t i = 0; i < n; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            noise[i] = round % 2 ? (char)x : "ab -'.,!s\xE2\x80\x99\"()$5"[x % 17];
        }
        char *one = concepts_of(noise, n, true);
        assert_true(vc_utf8_valid(one, strlen(one)));
        free(one);
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    }
}

static void a_caption_of_megabytes_is_parsed_in_linear_time(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "a dog on a mat ", "dog", "!", "'s", "-a", "\xF0\x9F\x98\x80", "x.", ",", " a dog and a cat on a mat, on"};
    for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
        VcStr text = {0};
        while (text.len < (p == 0 ? 1 << 20 : 1 << 18))
            vc_str_put(&text, pieces[p]);
        char *got = concepts_of(text.data, text.len, false);
        assert_true(vc_utf8_valid(got, strlen(got)));
        free(got);
        vc_str_finish(&text);
    }
    VcStr text = {0};
    while (text.len < (size_t)CAPTION_MAX_BYTES + 100)
        vc_str_put(&text, "\xC3\xA9 ");
    const CaptionToken *t;
    assert_true(caption_tokenize(parser, text.data, text.len, &t) <= CAPTION_MAX_BYTES / 3 + 1);
    vc_str_finish(&text);
}

static void a_shared_parser_answers_the_same(void **state)
{
    (void)state;
    CaptionParser *other = caption_parser_share(parser);
    CaptionParse p;
    caption_parse(other, "a dog on a mat", 14, 0, &p);
    assert_int_equal(p.concept_count, 2);
    assert_string_equal(p.concepts[0], "dog");
    assert_string_equal(p.concepts[1], "mat");
    caption_parser_destroy(&other);
    assert_null(other);
}

// --- golden ----------------------------------------------------------------------------------------------------------

static void tokens_equal_the_references(void **state)
{
    (void)state;
    char *path = test_shared("golden/concepts/dev-tokens.jsonl.gz");
    if (!path)
        skip();
    gzFile in = gzopen(path, "rb");
    assert_non_null(in);
    char *line = vc_alloc(1 << 20, 1);
    size_t captions = 0, wrong = 0;
    while (gzgets(in, line, 1 << 20)) {
        VcJson *json;
        assert_ok(vc_json_parse(&json, line, strlen(line), path, err));
        size_t n;
        const char *caption = vc_json_string(vc_json_member(json, "caption"), &n);
        const VcJson *tokens = vc_json_member(json, "tokens");
        const CaptionToken *t;
        size_t have = caption_tokenize(parser, caption, n, &t);
        bool same = have == vc_json_length(tokens);
        for (size_t i = 0; same && i < have; i++) {
            size_t length;
            const char *text = vc_json_string(vc_json_item(tokens, i), &length);
            same = length == t[i].length && memcmp(text, t[i].text, length) == 0;
        }
        if (!same && wrong++ < 5)
            fprintf(stderr, "# other tokens: %s\n", caption);
        captions++;
        vc_json_destroy(&json);
    }
    gzclose(in);
    free(line);
    free(path);
    fprintf(stderr, "# tokens: %zu of %zu captions differ\n", wrong, captions);
    assert_int_equal(captions, 6000);
    assert_true(wrong * 1000 <= captions);
}

typedef struct {
    size_t both, reference, ours;
} Score;

static double f1(Score s)
{
    return 2.0 * (double)s.both / (double)(s.reference + s.ours);
}

// How many of `list` ours has too, each once: strings, or arrays of `width` strings that are ours[width * k ...].
static void add_score(Score *s, const VcJson *list, const char *const *ours, size_t width, size_t n)
{
    bool used[512] = {false};
    assert_true(n <= 512);
    for (size_t i = 0; i < vc_json_length(list); i++) {
        const VcJson *item = vc_json_item(list, i);
        for (size_t k = 0; k < n; k++) {
            bool same = !used[k];
            for (size_t w = 0; w < width && same; w++) {
                const char *text = vc_json_string(width > 1 ? vc_json_item(item, w) : item, NULL);
                same = strcasecmp(text, ours[width * k + w]) == 0;
            }
            if (same) {
                used[k] = true;
                s->both++;
                break;
            }
        }
    }
    s->reference += vc_json_length(list);
    s->ours += n;
}

static void heads_reach_their_floor(void **state)
{
    (void)state;
    char *path = test_shared("golden/concepts/dev.jsonl");
    if (!path)
        skip();
    static const struct {
        const char *name;
        double heads, exact, attributes, relations;
    } floors[] = {{"flickr8k", .960, .87, .92, .84}, {"coco", .955, .85, .92, .83}, {"cc3m", .925, .74, .85, .75}};
    size_t captions[3] = {0}, exact[3] = {0};
    Score heads[3] = {{0}}, attributes[3] = {{0}}, relations[3] = {{0}};
    VcJsonStream *stream;
    VcJson *json;
    assert_ok(vc_json_stream_open(&stream, path, VC_JSON_LINES, NULL, err));
    for (;;) {
        assert_ok(vc_json_stream_next(stream, &json, NULL, err));
        if (!json)
            break;
        size_t n, s = 0;
        const char *source = vc_json_string(vc_json_member(json, "src"), NULL);
        while (strcmp(source, floors[s].name) != 0)
            s++;
        const char *caption = vc_json_string(vc_json_member(json, "caption"), &n);
        CaptionParse p;
        caption_parse(parser, caption, n, CAPTION_PRONOUNS | CAPTION_RELATIONS, &p);
        Score before = heads[s];
        add_score(&heads[s], vc_json_member(json, "heads"), p.concepts, 1, p.concept_count);
        size_t both = heads[s].both - before.both;
        exact[s] += both == heads[s].reference - before.reference && both == heads[s].ours - before.ours;
        captions[s]++;
        const char *texts[3 * 512];
        for (size_t i = 0; i < p.attribute_count && i < 512; i++) {
            texts[2 * i] = p.attributes[i].head;
            texts[2 * i + 1] = p.attributes[i].modifier;
        }
        add_score(&attributes[s], vc_json_member(json, "attributes"), texts, 2, p.attribute_count);
        for (size_t i = 0; i < p.relation_count && i < 512; i++) {
            texts[3 * i] = p.relations[i].subject;
            texts[3 * i + 1] = p.relations[i].relation;
            texts[3 * i + 2] = p.relations[i].object;
        }
        add_score(&relations[s], vc_json_member(json, "relations"), texts, 3, p.relation_count);
        vc_json_destroy(&json);
    }
    vc_json_stream_close(&stream);
    free(path);
    for (size_t s = 0; s < 3; s++) {
        double share = (double)exact[s] / (double)captions[s];
        fprintf(stderr, "# %s: heads F1 %.4f (same set %.4f), attributes F1 %.4f, relations F1 %.4f\n", floors[s].name,
                f1(heads[s]), share, f1(attributes[s]), f1(relations[s]));
        assert_true(share >= floors[s].exact);
        assert_true(f1(heads[s]) >= floors[s].heads);
        assert_true(f1(attributes[s]) >= floors[s].attributes);
        assert_true(f1(relations[s]) >= floors[s].relations);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_captions_give_their_heads),
        cmocka_unit_test(pronouns_only_when_asked),
        cmocka_unit_test(numbers_and_adjectives_are_attributes),
        cmocka_unit_test(the_tree_relates_heads),
        cmocka_unit_test(upper_case_does_not_matter_for_the_text),
        cmocka_unit_test(tokens_split_where_the_reference_does),
        cmocka_unit_test(any_bytes_are_a_caption),
        cmocka_unit_test(a_caption_of_megabytes_is_parsed_in_linear_time),
        cmocka_unit_test(a_shared_parser_answers_the_same),
        cmocka_unit_test(tokens_equal_the_references),
        cmocka_unit_test(heads_reach_their_floor),
    };
    return cmocka_run_group_tests(tests, make_parser, drop_parser);
}
