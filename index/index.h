// SPDX-License-Identifier: MIT
// The records: what `vicha index` writes and training reads (docs/FORMATS.md, "Records"). The one header other folders
// include; each sub-header is the manual of its module.
//
//   writing   stage.h      workspace -> MDS shards      writer.h  shards, side indexes, resume
//   reading   reader.h     open a set, get record i     shuffle.h the order of an epoch, resume of a position
//   format    mds.h        columns, encodings, bytes of one record and of index.json
//   text      wordpiece.h  BERT's WordPiece             caption.h the caption clean-up before it
//
// To train: index_reader_open, index_order_create, then for each batch index_order_batch and index_reader_take.
#pragma once

#include "index/caption.h"
#include "index/export_mds.h"
#include "index/mds.h"
#include "index/reader.h"
#include "index/shuffle.h"
#include "index/stage.h"
#include "index/tokenizer_wordpiece.h"
#include "index/writer.h"
