// SPDX-License-Identifier: MIT
#include "train/export.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

// Every name an export may hold: what is replaced is removed file by file.
static const char *const export_files[] = {
    "config.json", "model.safetensors", "preprocessor_config.json", "vocab.json",
    "merges.txt",  "tokenizer.json",    "tokenizer_config.json",    "special_tokens_map.json"};

static bool write_text(const char *dir, const char *name, const VcStr *text, VcErr *err)
{
    char *path = vc_path_join(dir, name);
    bool ok = vc_write_file(path, text->data, text->len, err);
    free(path);
    return ok;
}

static void put_tower(VcStr *out, const TrainModel *model, const TrainTower *t, const char *type)
{
    const TrainRecipe *r = model->recipe;
    vc_str_putf(out,
                "    \"model_type\": \"%s\",\n    \"hidden_act\": \"%s\",\n    \"hidden_size\": %" PRId64 ",\n"
                "    \"intermediate_size\": %" PRId64 ",\n    \"num_hidden_layers\": %" PRId64 ",\n"
                "    \"num_attention_heads\": %" PRId64 ",\n    \"projection_dim\": %" PRId64 ",\n"
                "    \"layer_norm_eps\": 1e-05,\n    \"attention_dropout\": 0.0,\n",
                type, r->activation == TRAIN_QUICK_GELU ? "quick_gelu" : "gelu", t->width, t->mlp, t->layers, t->heads,
                r->proj);
}

static bool write_config(const TrainModel *model, const Bpe *bpe, const char *dir, VcErr *err)
{
    const TrainRecipe *r = model->recipe;
    VcStr out = {0};
    vc_str_putf(&out,
                "{\n  \"architectures\": [\"CLIPModel\"],\n  \"model_type\": \"clip\",\n  \"projection_dim\": %" PRId64
                ",\n  \"logit_scale_init_value\": 2.6592,\n  \"dtype\": \"float32\",\n  \"text_config\": {\n",
                r->proj);
    put_tower(&out, model, &r->text, "clip_text_model");
    vc_str_putf(&out,
                "    \"vocab_size\": %zu,\n    \"max_position_embeddings\": %" PRId64 ",\n    \"bos_token_id\": %d,\n"
                "    \"eos_token_id\": %d,\n    \"pad_token_id\": %d\n  },\n  \"vision_config\": {\n",
                model->vocabulary, r->context, (int)bpe_start_id(bpe), (int)bpe_end_id(bpe), (int)bpe_pad_id(bpe));
    put_tower(&out, model, &r->vision, "clip_vision_model");
    vc_str_putf(&out,
                "    \"num_channels\": 3,\n    \"image_size\": %" PRId64 ",\n    \"patch_size\": %" PRId64 "\n  }\n}\n",
                r->image_size, r->patch);
    bool ok = write_text(dir, "config.json", &out, err);
    vc_str_finish(&out);
    return ok;
}

static bool write_preprocessor(const TrainRecipe *r, const char *dir, VcErr *err)
{
    VcStr out = {0};
    vc_str_putf(&out,
                "{\n  \"image_processor_type\": \"CLIPImageProcessor\",\n  \"do_convert_rgb\": true,\n"
                "  \"do_resize\": true,\n  \"size\": {\"shortest_edge\": %" PRId64 "},\n  \"resample\": 3,\n"
                "  \"do_center_crop\": true,\n  \"crop_size\": {\"height\": %" PRId64 ", \"width\": %" PRId64 "},\n"
                "  \"do_rescale\": true,\n  \"rescale_factor\": 0.00392156862745098,\n  \"do_normalize\": true,\n"
                "  \"image_mean\": [0.48145466, 0.4578275, 0.40821073],\n"
                "  \"image_std\": [0.26862954, 0.26130258, 0.27577711]\n}\n",
                r->image_size, r->image_size, r->image_size);
    bool ok = write_text(dir, "preprocessor_config.json", &out, err);
    vc_str_finish(&out);
    return ok;
}

static bool write_weights(const TrainModel *model, const char *dir, VcErr *err)
{
    const NnParams *params = &model->params;
    NnToStore *tensors = vc_calloc(params->count, sizeof *tensors);
    for (size_t i = 0; i < params->count; i++) {
        const NnParamInfo *p = &params->items[i];
        tensors[i] = (NnToStore){p->name, NN_F32, p->shape, params->value + p->offset};
    }
    const NnMetadata format = {"format", "pt"};
    char *path = vc_path_join(dir, "model.safetensors");
    bool ok = nn_safetensors_write(path, tensors, params->count, &format, 1, NN_STORE_SORTED, err);
    free(path);
    free(tensors);
    return ok;
}

static bool remove_export(const char *dir, VcErr *err)
{
    // Each file, and what a killed run left of writing it. Nothing else: the folder may be the user's.
    for (size_t i = 0; i < 2 * (sizeof export_files / sizeof *export_files); i++) {
        VcStr path = {0};
        vc_str_putf(&path, "%s/%s%s", dir, export_files[i / 2], i % 2 ? ".tmp" : "");
        bool ok = unlink(path.data) == 0 || errno == ENOENT || vc_fail_errno(err, "cannot remove '%s'", path.data);
        vc_str_finish(&path);
        if (!ok)
            return false;
    }
    return rmdir(dir) == 0 || errno == ENOENT || vc_fail_errno(err, "cannot replace '%s'", dir);
}

bool train_export(const TrainModel *model, const Bpe *bpe, const char *run, VcErr *err)
{
    char *path = vc_path_join(run, "model"), *tmp = vc_path_join(run, "model.tmp");
    bool ok = remove_export(tmp, err) && vc_make_dirs(tmp, err) && write_weights(model, tmp, err);
    if (ok && model->recipe->objective == TRAIN_CLIP) {
        ok = write_config(model, bpe, tmp, err) && write_preprocessor(model->recipe, tmp, err) &&
             train_vocabulary_copy(run, tmp, err);
    }
    ok = ok && remove_export(path, err) &&
         (rename(tmp, path) == 0 || vc_fail_errno(err, "cannot rename '%s' to '%s'", tmp, path)) &&
         vc_sync_parent(path, err);
    if (!ok)
        vc_prefix(err, "cannot write the model '%s'", path);
    free(path);
    free(tmp);
    return ok;
}
