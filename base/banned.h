// SPDX-License-Identifier: MIT
// Calls that have a better one of ours are compile errors. Included by every file through the build (-include).
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf gets strtok atoi atol atof tmpnam mktemp
