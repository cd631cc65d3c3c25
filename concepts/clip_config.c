// SPDX-License-Identifier: MIT
// What a model is, from config.json + preprocessor_config.json (Hugging Face) or open_clip_config.json (OpenCLIP).
// A setting that would change the numbers and that we do not compute is refused by name, never ignored.
#include "concepts/clip_private.h"

#include "base/file.h"
#include "base/json.h"

#include <string.h>

enum {
    MAX_CONFIG = 16 << 20,
    MAX_WIDTH = 16384,
    MAX_LAYERS = 256,
    MAX_IMAGE = 4096,
    MAX_CONTEXT = 8192,
    MAX_VOCABULARY = 1 << 22
};

static const float openai_mean[3] = {0.48145466F, 0.4578275F, 0.40821073F};
static const float openai_std[3] = {0.26862954F, 0.26130258F, 0.27577711F};

// One object of a configuration; `over` (Hugging Face's old text_config_dict) wins where it has the key.
typedef struct {
    const VcJson *json, *over;
    const char *name, *path; // for messages
} Section;

static const VcJson *get(const Section *s, const char *key)
{
    const VcJson *value = s->over != NULL ? vc_json_member(s->over, key) : NULL;
    if (value == NULL)
        value = vc_json_member(s->json, key);
    return value != NULL && !vc_json_is_null(value) ? value : NULL;
}

// A whole number in 1..most; `otherwise` where the key is absent.
static bool get_size(const Section *s, const char *key, size_t otherwise, size_t most, size_t *out, VcErr *err)
{
    const VcJson *value = get(s, key);
    const int64_t n = value == NULL ? (int64_t)otherwise : vc_json_int(value, -1);
    if (n < 1 || n > (int64_t)most) {
        return vc_fail(err, VC_ERR_FORMAT, "'%s' of %s in '%s': expected a whole number in 1..%zu", key, s->name,
                       s->path, most);
    }
    *out = (size_t)n;
    return true;
}

static bool get_real(const Section *s, const char *key, double otherwise, double *out, VcErr *err)
{
    const VcJson *value = get(s, key);
    *out = value == NULL ? otherwise : vc_json_number(value, -1.0);
    if (!(*out > 0.0 && *out < 1e6))
        return vc_fail(err, VC_ERR_FORMAT, "'%s' of %s in '%s': expected a positive number", key, s->name, s->path);
    return true;
}

static bool refuse(const Section *s, const char *key, const char *why, VcErr *err)
{
    return vc_fail(err, VC_ERR_FORMAT, "'%s' of %s in '%s': %s", key, s->name, s->path, why);
}

// mean and std: three numbers, or the OpenAI ones where absent.
static bool get_triple(const Section *s, const char *key, const float otherwise[3], float out[3], VcErr *err)
{
    const VcJson *value = get(s, key);
    for (size_t i = 0; i < 3; i++) {
        const VcJson *item = value != NULL ? vc_json_item(value, i) : NULL;
        if (value != NULL && (vc_json_length(value) != 3 || !vc_json_is_number(item)))
            return refuse(s, key, "expected three numbers", err);
        out[i] = value != NULL ? (float)vc_json_number(item, 0) : otherwise[i];
    }
    return true;
}

static bool check_tower(const Section *s, const ClipTower *t, VcErr *err)
{
    if (t->width % t->heads != 0) {
        return vc_fail(err, VC_ERR_FORMAT, "%s in '%s': %zu heads do not divide a width of %zu", s->name, s->path,
                       t->heads, t->width);
    }
    return true;
}

// ---- Hugging Face ----

static bool hf_tower(const Section *s, ClipTower *t, size_t width, size_t mlp, size_t heads, VcErr *err)
{
    const VcJson *act = get(s, "hidden_act");
    const char *name = act != NULL ? vc_json_string(act, NULL) : "quick_gelu";
    if (name != NULL && strcmp(name, "quick_gelu") == 0) {
        t->activation = CLIP_QUICK_GELU;
    } else if (name != NULL && strcmp(name, "gelu") == 0) {
        t->activation = CLIP_GELU;
    } else {
        return refuse(s, "hidden_act", "expected \"quick_gelu\" or \"gelu\"", err);
    }
    return get_size(s, "hidden_size", width, MAX_WIDTH, &t->width, err) &&
           get_size(s, "intermediate_size", mlp, (size_t)MAX_WIDTH * 8, &t->mlp, err) &&
           get_size(s, "num_hidden_layers", 12, MAX_LAYERS, &t->layers, err) &&
           get_size(s, "num_attention_heads", heads, MAX_WIDTH, &t->heads, err) &&
           get_real(s, "layer_norm_eps", 1e-5, &t->eps, err) && check_tower(s, t, err);
}

// A size in a preprocessor: 224, {"shortest_edge": 224} or {"height": 224, "width": 224}.
static int64_t preprocessor_size(const VcJson *value)
{
    const VcJson *edge = vc_json_member(value, "shortest_edge");
    if (edge == NULL &&
        vc_json_int(vc_json_member(value, "height"), -1) == vc_json_int(vc_json_member(value, "width"), -2))
        edge = vc_json_member(value, "height");
    return vc_json_int(edge != NULL ? edge : value, -1);
}

static bool hf_preprocessor(ClipModel *m, VcErr *err)
{
    char *path = vc_path_join(m->dir, "preprocessor_config.json");
    VcJson *json = NULL;
    bool ok = !vc_exists(path) || vc_json_read_file(&json, path, MAX_CONFIG, err);
    const Section s = {json, NULL, "the preprocessor", path};
    static const char *const switches[] = {"do_resize", "do_center_crop", "do_rescale", "do_normalize"};
    for (size_t i = 0; ok && json != NULL && i < 4; i++) {
        if (!vc_json_bool(vc_json_member(json, switches[i]), true))
            ok = refuse(&s, switches[i], "false is not supported", err);
    }
    static const char *const sizes[] = {"size", "crop_size"};
    for (size_t i = 0; ok && json != NULL && i < 2; i++) {
        if (get(&s, sizes[i]) != NULL && preprocessor_size(get(&s, sizes[i])) != (int64_t)m->info.image_size) {
            ok = vc_fail(err, VC_ERR_FORMAT, "'%s' in '%s': expected %zu, the image_size of config.json", sizes[i],
                         path, m->info.image_size);
        }
    }
    if (ok && json != NULL && vc_json_int(get(&s, "resample"), 3) != 3)
        ok = refuse(&s, "resample", "expected 3 (bicubic)", err);
    ok = ok && get_triple(&s, "image_mean", openai_mean, m->info.mean, err) &&
         get_triple(&s, "image_std", openai_std, m->info.std, err);
    vc_json_destroy(&json);
    free(path);
    return ok;
}

static bool hf_config(ClipModel *m, const VcJson *json, const char *path, VcErr *err)
{
    ClipInfo *info = &m->info;
    const Section top = {json, NULL, "the model", path};
    const Section text = {vc_json_member(json, "text_config"), vc_json_member(json, "text_config_dict"), "text_config",
                          path};
    const Section image = {vc_json_member(json, "vision_config"), vc_json_member(json, "vision_config_dict"),
                           "vision_config", path};
    const VcJson *type = vc_json_member(json, "model_type");
    if (type != NULL && (vc_json_string(type, NULL) == NULL || strcmp(vc_json_string(type, NULL), "clip") != 0))
        return refuse(&top, "model_type", "expected \"clip\"", err);
    if (type == NULL && !vc_json_is_object(image.json)) {
        return vc_fail(err, VC_ERR_FORMAT,
                       "'%s' is no configuration of CLIP: neither model_type nor vision_config is there", path);
    }
    const VcJson *channels = get(&image, "num_channels");
    if (channels != NULL && vc_json_int(channels, 0) != 3)
        return refuse(&image, "num_channels", "expected 3", err);
    size_t end = 0;
    if (!hf_tower(&image, &info->image, 768, 3072, 12, err) || !hf_tower(&text, &info->text, 512, 2048, 8, err) ||
        !get_size(&image, "image_size", 224, MAX_IMAGE, &info->image_size, err) ||
        !get_size(&image, "patch_size", 32, MAX_IMAGE, &info->patch, err) ||
        !get_size(&text, "max_position_embeddings", 77, MAX_CONTEXT, &info->context, err) ||
        !get_size(&text, "vocab_size", 49408, MAX_VOCABULARY, &info->vocabulary, err) ||
        !get_size(&top, "projection_dim", 512, MAX_WIDTH, &info->dim, err) ||
        !get_size(&text, "eos_token_id", 49407, MAX_VOCABULARY, &end, err))
        return false;
    m->pool_id = end == 2 ? -1 : (int32_t)end; // 2 in old files, where the largest id was meant
    return hf_preprocessor(m, err);
}

// ---- OpenCLIP ----

// Settings of a tower that change what is computed, with the values that are the ones we compute.
static bool oc_only_plain(const Section *s, VcErr *err)
{
    static const struct {
        const char *key, *plain; // NULL: must be absent, null or false
    } settings[] = {
        {"timm_model_name", NULL},     {"hf_model_name", NULL},         {"attentional_pool", NULL},
        {"no_ln_pre", NULL},           {"final_ln_after_pool", NULL},   {"no_causal_mask", NULL},
        {"embed_cls", NULL},           {"ls_init_value", NULL},         {"qk_norm", NULL},
        {"scaled_cosine", NULL},       {"mlp_ratio_hidden", NULL},      {"input_patchnorm", NULL},
        {"global_average_pool", NULL}, {"pos_embed_type", "learnable"}, {"pool_type", "tok"},
        {"pool_type", "argmax"},       {"proj_type", "linear"},         {"proj_bias", NULL},
        {"act_kwargs", NULL},          {"block_type", "default"},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        const VcJson *value = get(s, settings[i].key);
        const char *text = value != NULL ? vc_json_string(value, NULL) : NULL;
        if (value == NULL || (settings[i].plain == NULL && text == NULL && !vc_json_is_number(value) &&
                              !vc_json_is_object(value) && !vc_json_bool(value, true)))
            continue;
        if (vc_json_is_object(value) && vc_json_length(value) == 0)
            continue;
        bool allowed = false; // a key may stand in several rows
        for (size_t k = 0; k < sizeof settings / sizeof settings[0]; k++) {
            allowed =
                allowed || (text != NULL && settings[k].plain != NULL &&
                            strcmp(settings[k].key, settings[i].key) == 0 && strcmp(settings[k].plain, text) == 0);
        }
        if (!allowed) {
            return refuse(s, settings[i].key, "this variant of CLIP is not supported (plain ViT and causal text only)",
                          err);
        }
    }
    return true;
}

static bool oc_tower(const Section *s, ClipTower *t, size_t width, VcErr *err)
{
    double ratio;
    if (vc_json_is_array(get(s, "layers")))
        return refuse(s, "layers", "a list means a ResNet tower, which is not supported", err);
    if (!oc_only_plain(s, err) || !get_size(s, "width", width, MAX_WIDTH, &t->width, err) ||
        !get_size(s, "layers", 12, MAX_LAYERS, &t->layers, err) || !get_real(s, "mlp_ratio", 4.0, &ratio, err))
        return false;
    const double mlp = (double)t->width * ratio;
    if (mlp < 1 || mlp > (double)MAX_WIDTH * 8)
        return refuse(s, "mlp_ratio", "the MLP would be too wide", err);
    t->mlp = (size_t)mlp;
    const Section norm = {get(s, "norm_kwargs"), NULL, s->name, s->path};
    return get_real(&norm, "eps", 1e-5, &t->eps, err);
}

static bool oc_image_size(const Section *s, size_t *out, VcErr *err)
{
    const VcJson *value = get(s, "image_size");
    if (!vc_json_is_array(value))
        return get_size(s, "image_size", 224, MAX_IMAGE, out, err);
    const int64_t side = vc_json_int(vc_json_item(value, 0), -1);
    if (vc_json_length(value) != 2 || side != vc_json_int(vc_json_item(value, 1), -2) || side < 1 || side > MAX_IMAGE)
        return refuse(s, "image_size", "expected a square", err);
    *out = (size_t)side;
    return true;
}

static bool oc_preprocess(ClipModel *m, const VcJson *json, const char *path, VcErr *err)
{
    const Section s = {json, NULL, "preprocess_cfg", path};
    static const struct {
        const char *key, *value;
    } plain[] = {{"interpolation", "bicubic"}, {"resize_mode", "shortest"}, {"mode", "RGB"}};
    for (size_t i = 0; i < 3; i++) {
        const char *text = vc_json_string(get(&s, plain[i].key), NULL);
        if (get(&s, plain[i].key) != NULL && (text == NULL || strcmp(text, plain[i].value) != 0)) {
            return vc_fail(err, VC_ERR_FORMAT, "'%s' of %s in '%s': expected \"%s\"", plain[i].key, s.name, path,
                           plain[i].value);
        }
    }
    return get_triple(&s, "mean", openai_mean, m->info.mean, err) &&
           get_triple(&s, "std", openai_std, m->info.std, err);
}

static bool oc_config(ClipModel *m, const VcJson *json, const char *path, VcErr *err)
{
    ClipInfo *info = &m->info;
    const VcJson *model = vc_json_member(json, "model_cfg");
    if (model == NULL && vc_json_member(json, "vision_cfg") != NULL)
        model = json; // a bare model configuration, as in open_clip's own model_configs
    const Section top = {model, NULL, "model_cfg", path};
    const Section image = {vc_json_member(model, "vision_cfg"), NULL, "vision_cfg", path};
    const Section text = {vc_json_member(model, "text_cfg"), NULL, "text_cfg", path};
    if (!vc_json_is_object(image.json) || !vc_json_is_object(text.json))
        return vc_fail(err, VC_ERR_FORMAT, "'%s': expected model_cfg with vision_cfg and text_cfg", path);
    if (vc_json_member(model, "multimodal_cfg") != NULL)
        return refuse(&top, "multimodal_cfg", "CoCa is not supported", err);
    size_t head = 0;
    if (!oc_tower(&image, &info->image, 768, err) || !oc_tower(&text, &info->text, 512, err) ||
        !oc_image_size(&image, &info->image_size, err) ||
        !get_size(&image, "patch_size", 32, MAX_IMAGE, &info->patch, err) ||
        !get_size(&image, "head_width", 64, MAX_WIDTH, &head, err) ||
        !get_size(&text, "heads", 8, MAX_WIDTH, &info->text.heads, err) ||
        !get_size(&text, "context_length", 77, MAX_CONTEXT, &info->context, err) ||
        !get_size(&text, "vocab_size", 49408, MAX_VOCABULARY, &info->vocabulary, err) ||
        !get_size(&top, "embed_dim", 0, MAX_WIDTH, &info->dim, err))
        return false;
    if (info->image.width % head != 0)
        return refuse(&image, "head_width", "it does not divide the width", err);
    info->image.heads = info->image.width / head;
    const VcJson *quick = get(&top, "quick_gelu");
    const bool is_quick = quick != NULL ? vc_json_bool(quick, false) : vc_has_suffix(m->dir, "-quickgelu");
    info->image.activation = info->text.activation = is_quick ? CLIP_QUICK_GELU : CLIP_GELU;
    m->pool_id = -1;
    return check_tower(&text, &info->text, err) && oc_preprocess(m, vc_json_member(json, "preprocess_cfg"), path, err);
}

bool clip_read_config(ClipModel *m, VcErr *err)
{
    ClipInfo *info = &m->info;
    const bool hf = info->layout == CLIP_LAYOUT_HF;
    char *path = vc_path_join(m->dir, hf ? "config.json" : "open_clip_config.json");
    VcJson *json = NULL;
    bool ok = vc_json_read_file(&json, path, MAX_CONFIG, err);
    ok = ok && (hf ? hf_config(m, json, path, err) : oc_config(m, json, path, err));
    if (ok && info->patch > info->image_size) {
        ok = vc_fail(err, VC_ERR_FORMAT, "'%s': a patch of %zu is larger than an image of %zu", path, info->patch,
                     info->image_size);
    }
    if (ok && info->context < 2) {
        ok = vc_fail(err, VC_ERR_FORMAT, "'%s': a text of %zu tokens has no room for start and end", path,
                     info->context);
    }
    for (size_t i = 0; ok && i < 3; i++) {
        if (!(info->std[i] > 0.0F))
            ok = vc_fail(err, VC_ERR_FORMAT, "'%s': the standard deviation of channel %zu must be positive", path, i);
    }
    info->clean = hf ? BPE_CLEAN_HF : BPE_CLEAN_OPENCLIP;
    vc_json_destroy(&json);
    free(path);
    return ok;
}
