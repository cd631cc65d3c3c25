// SPDX-License-Identifier: MIT
// Training the caption parser: the same bytes on any number of threads, a model that has learned, and bad input.
#include "base/file.h"
#include "base/rng.h"
#include "base/str.h"
#include "concepts/caption_arcs.h"
#include "concepts/concepts.h"
#include "tests/support/test.h"

static char *folder;

static int make_folder(void **state)
{
    (void)state;
    folder = test_temp_folder();
    return 0;
}

static int drop_folder(void **state)
{
    (void)state;
    test_temp_remove(&folder);
    return 0;
}

static void put_token(VcStr *s, const char *token, const char *tag, const char *dep, int head, char role)
{
    vc_str_putf(s, "%s\t1\t_\t_\t%s\t%s\t%d\t%c\n", token, tag, dep, head, role);
}

// "the ADJECTIVE NOUN VERB a NOUN NOUN PREPOSITION the NOUN", parts left out at random.
static void put_caption(VcStr *s, VcRng *rng)
{
    static const char *const adjectives[] = {"sunny", "tiny", "woolly", "rusty", "muddy"};
    static const char *const nouns[] = {"dog", "cart", "boat", "crab", "hat", "lamp", "rock", "barn"};
    static const char *const verbs[] = {"chases", "watches", "washes", "passes"};
    static const char *const prepositions[] = {"near", "under", "behind"};
    bool adjective = vc_rng_below(rng, 2), compound = vc_rng_below(rng, 2), place = vc_rng_below(rng, 2);
    vc_str_put(s, "# made\n");
    put_token(s, "the", "DET", "det", adjective ? 2 : 1, 'O');
    if (adjective)
        put_token(s, adjectives[vc_rng_below(rng, 5)], "ADJ", "amod", 1, 'M');
    put_token(s, nouns[vc_rng_below(rng, 8)], "NOUN", "nsubj", 1, 'H');
    put_token(s, verbs[vc_rng_below(rng, 4)], "VERB", "ROOT", 0, 'O');
    put_token(s, "a", "DET", "det", compound ? 2 : 1, 'O');
    if (compound)
        put_token(s, nouns[vc_rng_below(rng, 8)], "NOUN", "compound", 1, 'C');
    put_token(s, nouns[vc_rng_below(rng, 8)], "NOUN", "dobj", compound ? -3 : -2, 'H');
    if (place) {
        put_token(s, prepositions[vc_rng_below(rng, 3)], "ADP", "prep", -1, 'O');
        put_token(s, "the", "DET", "det", 1, 'O');
        put_token(s, nouns[vc_rng_below(rng, 8)], "NOUN", "pobj", -2, 'H');
    }
    vc_str_putc(s, '\n');
}

static char *write_silver(void)
{
    VcStr s = {0};
    VcRng rng;
    vc_rng_seed(&rng, 5);
    for (int i = 0; i < 400; i++)
        put_caption(&s, &rng);
    char *path = vc_path_join(folder, "silver.tsv");
    assert_ok(vc_write_file(path, s.data, s.len, err));
    vc_str_finish(&s);
    return path;
}

static char *train(const char *silver, uint64_t seed, size_t threads, size_t *n, CaptionTrainReport *report)
{
    char *out = vc_path_join(folder, "model"), *bytes;
    CaptionTrainOptions o = caption_train_defaults;
    o.seed = seed;
    o.holdout = 10;
    o.pool = threads > 1 ? vc_pool_create(threads) : NULL;
    assert_ok(caption_train(silver, out, &o, report, err));
    vc_pool_destroy(&o.pool);
    assert_ok(vc_read_file(&bytes, n, out, 1 << 24, err));
    free(out);
    return bytes;
}

static void threads_do_not_change_a_bit(void **state)
{
    (void)state;
    char *silver = write_silver();
    CaptionTrainReport r;
    size_t n1, n3, other;
    char *one = train(silver, 1, 1, &n1, &r);
    char *three = train(silver, 1, 3, &n3, &r);
    assert_int_equal(n1, n3);
    assert_memory_equal(one, three, n1);
    char *seed2 = train(silver, 2, 1, &other, &r);
    assert_true(other != n1 || memcmp(one, seed2, n1) != 0);
    free(one);
    free(three);
    free(seed2);
    free(silver);
}

static void what_was_trained_is_used(void **state)
{
    (void)state;
    char *silver = write_silver(), *model = vc_path_join(folder, "model");
    CaptionTrainReport r;
    size_t n;
    free(train(silver, 1, 1, &n, &r));
    assert_int_equal(r.captions, 400);
    assert_int_equal(r.held_out, 40);
    assert_int_equal(r.bytes, n);
    assert_true(r.tags > .99 && r.heads > .99 && r.exact > .97 && r.attributes > .99 && r.relations > .98);
    VcErr err;
    CaptionParser *p = caption_parser_open(model, &err);
    assert_non_null(p);
    CaptionParse parse;
    static const char text[] = "the sunny dog washes a hat barn near the cart";
    caption_parse(p, text, sizeof text - 1, CAPTION_RELATIONS, &parse);
    assert_int_equal(parse.concept_count, 3);
    assert_string_equal(parse.concepts[0], "dog");
    assert_string_equal(parse.concepts[1], "hat barn");
    assert_string_equal(parse.concepts[2], "cart");
    assert_int_equal(parse.attribute_count, 1);
    assert_string_equal(parse.attributes[0].modifier, "sunny");
    assert_int_equal(parse.relation_count, 2);
    assert_string_equal(parse.relations[0].relation, "washes");
    assert_string_equal(parse.relations[1].relation, "near");
    caption_parser_destroy(&p);
    free(silver);
    free(model);
}

static void bad_annotations_are_refused_with_their_line(void **state)
{
    (void)state;
    char *path = vc_path_join(folder, "bad"), *out = vc_path_join(folder, "none");
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"", "no annotated caption"},
        {"# only\n\n\n", "no annotated caption"},
        {"dog\t1\t_\tNN\tNOUN\tROOT\t0\n", "line 1"},
        {"dog\t1\t_\tNN\tNOUN\tROOT\t0\tH\tmore\n", "line 1"},
        {"# a\ndog\t1\t_\tNN\tNOUN\tROOT\t0\tH\n\ncat\t1\t_\tNN\tNOUX\tROOT\t0\tH\n", "line 4"},
        {"dog\t1\t_\tNN\tNOUN\tROOT\t0\tQ\n", "role"},
        {"dog\t1\t_\tNN\tNOUN\tROOT\tx\tH\n", "offset"},
        {"dog\t1\t_\tNN\tNOUN\tdep\t3\tH\n\n", "outside"},
        {"\xFF\t1\t_\tNN\tNOUN\tROOT\t0\tH\n", "UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CaptionTrainReport r;
        assert_ok(vc_write_file(path, cases[i].text, strlen(cases[i].text), err));
        assert_error(caption_train(path, out, &caption_train_defaults, &r, err), cases[i].word);
        assert_false(vc_exists(out));
    }
    free(path);
    free(out);
}

static void a_damaged_model_is_refused(void **state)
{
    (void)state;
    char *silver = write_silver(), *model = vc_path_join(folder, "model");
    CaptionTrainReport r;
    size_t n;
    char *bytes = train(silver, 1, 1, &n, &r);
    VcErr why;
    for (size_t at = 0; at < n; at += 1 + n / 50) { // any byte changed, or cut there
        bytes[at] ^= 0x20;
        assert_ok(vc_write_file(model, bytes, n, err));
        assert_null(caption_parser_open(model, &why));
        assert_non_null(strstr(why.text, model));
        bytes[at] ^= 0x20;
        assert_ok(vc_write_file(model, bytes, at, err));
        assert_null(caption_parser_open(model, &why));
    }
    assert_null(caption_parser_open(folder, &why));
    free(bytes);
    free(silver);
    free(model);
}

// The oracle's steps lead to the very tree, whatever the (projective) tree.
static void the_oracle_builds_the_gold_tree(void **state)
{
    (void)state;
    VcRng rng;
    vc_rng_seed(&rng, 3);
    for (int round = 0; round < 500; round++) {
        enum { MAX = 12 };
        int32_t n = 1 + (int32_t)vc_rng_below(&rng, MAX), head[MAX + 1];
        uint8_t dep[MAX + 1] = {0};
        CaptionWord words[MAX + 2 * CAPTION_PAD] = {0};
        CaptionTree tree = {0};
        // A random walk of the system itself gives a projective tree.
        caption_tree_begin(&tree, words + CAPTION_PAD, (size_t)n);
        size_t steps = 0;
        for (; !caption_tree_done(&tree.a); steps++) {
            uint32_t allowed = caption_tree_allowed(&tree.a), step;
            assert_true(allowed != 0 && steps < 2 * (size_t)n + 1);
            do
                step = (uint32_t)vc_rng_below(&rng, CAPTION_STEPS);
            while (!(allowed >> step & 1));
            caption_tree_step(&tree.a, (CaptionStep)step);
        }
        memcpy(head, tree.a.head, sizeof *head * (size_t)n);
        memcpy(dep, tree.a.dep, (size_t)n);
        head[n] = -2;
        caption_tree_begin(&tree, words + CAPTION_PAD, (size_t)n);
        while (!caption_tree_done(&tree.a))
            caption_tree_step(&tree.a, (CaptionStep)__builtin_ctz(caption_tree_oracle(&tree.a, head, dep)));
        assert_memory_equal(tree.a.head, head, sizeof *head * (size_t)n);
        for (int32_t i = 0; i < n; i++) {
            // A label that the other side has no step for is OTHER there; here every arc keeps its side.
            assert_int_equal(tree.a.dep[i], dep[i]);
        }
        caption_tree_finish(&tree);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(what_was_trained_is_used),
        cmocka_unit_test(bad_annotations_are_refused_with_their_line),
        cmocka_unit_test(a_damaged_model_is_refused),
        cmocka_unit_test(the_oracle_builds_the_gold_tree),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
