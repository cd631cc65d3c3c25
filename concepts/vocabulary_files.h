// SPDX-License-Identifier: MIT
// Private to the vocabulary: lists of concepts from files and other workspaces.
#pragma once

#include "base/hash.h"
#include "concepts/vocabulary_counter.h"

// A folder is a workspace: its vocabulary, in its order. Reads concepts in UTF-8: one a line, maybe with a tab and a
// count behind; a JSON list of strings; or a JSON object of counts. Adds them to the counter: with their counts when
// `counted`, where each must have one; else each once, in the order of the file, counts ignored. `sha` takes in what
// the answer depends on.
bool vocabulary_read_file(VocabularyCounter *counter, const char *path, bool counted, VcSha256 *sha, VcErr *err);
// Does the first concept of the file have a count?
bool vocabulary_file_has_counts(const char *path, bool *counts, VcErr *err);
// Adds the counts of a file with counts, or of the vocabulary of the workspace `path` names.
bool vocabulary_read_counts(VocabularyCounter *counter, const char *path, VcSha256 *sha, VcErr *err);
