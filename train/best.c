// SPDX-License-Identifier: MIT
#include "train/best.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "train/model/state.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

static const char best_name[] = "checkpoint.best.safetensors";

double train_mean_recall(const TrainRecall *r)
{
    double sum = 0;
    for (size_t k = 0; k < 3; k++)
        sum += r->image_to_text[k] + r->text_to_image[k];
    return sum / 6;
}

// The recall of the file, or -1 where there is none that can be read: then the next one is better.
static double recall_of(const char *path)
{
    NnSafetensors *st = NULL;
    VcErr err;
    double recall = -1;
    if (!vc_exists(path))
        return recall;
    if (nn_safetensors_open(&st, path, &err)) {
        const char *text = nn_safetensors_metadata(st, "mean_recall");
        if (!text || !vc_parse_double(text, &recall))
            recall = -1;
    } else {
        vc_warn("%s; the next evaluation replaces it", err.text);
    }
    nn_safetensors_close(&st);
    return recall;
}

bool train_best_update(const char *run, const TrainModel *model, uint64_t step, const TrainRecall *recall, VcErr *err)
{
    char *path = vc_path_join(run, best_name), at[24], value[32];
    bool ok = true;
    snprintf(value, sizeof value, "%.4f", train_mean_recall(recall));
    snprintf(at, sizeof at, "%" PRIu64, step);
    double here;
    VC_ASSERT(vc_parse_double(value, &here)); // as it will be read back
    if (here > recall_of(path)) {
        const NnMetadata metadata[] = {{"format", "pt"}, {"mean_recall", value}, {"step", at}};
        VcArena *arena = vc_arena_create("best");
        NnToStore *tensors;
        size_t n = train_model_tensors(model, arena, &tensors);
        ok = nn_safetensors_write(path, tensors, n, metadata, 3, NN_STORE_SORTED, err);
        vc_arena_destroy(&arena);
        if (!ok)
            vc_prefix(err, "cannot write checkpoint of the best recall");
    }
    free(path);
    return ok;
}

bool train_best_clear(const char *run, VcErr *err)
{
    char *path = vc_path_join(run, best_name);
    bool ok = unlink(path) == 0 || errno == ENOENT || vc_fail_errno(err, "cannot remove '%s'", path);
    free(path);
    return ok;
}
