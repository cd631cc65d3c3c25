// SPDX-License-Identifier: MIT
// The folder's umbrella header: images from outside, and the store they are kept in.
#pragma once

#include "extract/cause.h"
#include "extract/download.h"
#include "extract/image.h"
#include "extract/image_reduced.h"
#include "extract/merge.h"
#include "extract/reader.h"
#include "extract/resample.h"
#include "extract/sandbox.h"
#include "extract/source.h"
#include "extract/stage.h"
#include "extract/store.h"
#include "extract/versions.h"
