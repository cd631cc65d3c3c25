// SPDX-License-Identifier: MIT
// Asking a workspace: filters, ranking, paging, pictures of the answer. The only header of this folder that other
// folders include; the command line and the web page call the same functions.
//
// Threads: as each header below says.
#pragma once

#include "query/check.h"
#include "query/encoder.h"
#include "query/engine.h"
#include "query/expression.h"
#include "query/picture.h"
#include "query/sql.h"
