// SPDX-License-Identifier: MIT
#include "extract/cause.h"

#include <stddef.h>
#include <string.h>

static const struct {
    ExtractCause cause;
    const char *name;
} causes[] = {
    {EXTRACT_BAD_ENTRY, "bad_entry"},
    {EXTRACT_BAD_URL, "bad_url"},
    {EXTRACT_MISSING, "missing"},
    {EXTRACT_UNREADABLE, "unreadable"},
    {EXTRACT_DNS, "dns"},
    {EXTRACT_CONNECT, "connect"},
    {EXTRACT_TIMEOUT, "timeout"},
    {EXTRACT_NOT_FOUND, "not_found"},
    {EXTRACT_FORBIDDEN, "forbidden"},
    {EXTRACT_SERVER_ERROR, "server_error"},
    {EXTRACT_REDIRECT, "redirect"},
    {EXTRACT_TLS, "tls"},
    {EXTRACT_BROKEN_OFF, "broken_off"},
    {EXTRACT_PROTOCOL, "protocol"},
    {EXTRACT_PRIVATE, "private_address"},
    {EXTRACT_ROBOTS, "robots"},
    {EXTRACT_OPTED_OUT, "opted_out"},
    {EXTRACT_EMPTY, "empty"},
    {EXTRACT_NOT_IMAGE, "not_image"},
    {EXTRACT_UNSUPPORTED, "unsupported"},
    {EXTRACT_TRUNCATED, "truncated"},
    {EXTRACT_CORRUPT, "corrupt"},
    {EXTRACT_TOO_LARGE, "too_large"},
    {EXTRACT_TOO_SMALL, "too_small"},
    {EXTRACT_ASPECT, "aspect"},
    {EXTRACT_TOO_SLOW, "too_slow"},
    {EXTRACT_CRASHED, "crashed"},
    {EXTRACT_DUPLICATE, "duplicate"},
};

const char *extract_cause_name(int cause)
{
    for (size_t i = 0; i < sizeof causes / sizeof *causes; i++) {
        if ((int)causes[i].cause == cause)
            return causes[i].name;
    }
    return "unknown";
}

ExtractCause extract_cause_at(unsigned index)
{
    return index < sizeof causes / sizeof *causes ? causes[index].cause : EXTRACT_OK;
}

ExtractCause extract_cause_of(const char *name)
{
    for (size_t i = 0; i < sizeof causes / sizeof *causes; i++) {
        if (strcmp(causes[i].name, name) == 0)
            return causes[i].cause;
    }
    return EXTRACT_OK;
}

bool extract_cause_may_heal(ExtractCause cause)
{
    return cause == EXTRACT_DNS || cause == EXTRACT_CONNECT || cause == EXTRACT_TIMEOUT ||
           cause == EXTRACT_SERVER_ERROR || cause == EXTRACT_BROKEN_OFF;
}
