// SPDX-License-Identifier: MIT
#include "extract/headers.h"

#include "extract/robots.h"

#include <string.h>
#include <strings.h>

void extract_headers_begin(ExtractHeaders *headers, const char *agent)
{
    *headers = (ExtractHeaders){.agent = agent, .retry_after = -1};
}

static bool read_digits(const char **at, const char *end, int64_t most, int64_t *out)
{
    int64_t value = 0;
    const char *p = *at;
    while (p < end && *p >= '0' && *p <= '9') {
        value = value * 10 + (*p++ - '0');
        value = value > most ? most : value;
    }
    const bool any = p > *at;
    *at = p;
    *out = value;
    return any;
}

// Days from 1970-01-01 to a date of the Gregorian calendar; month 1..12.
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    const int64_t era = (year >= 0 ? year : year - 399) / 400, in_era = year - era * 400;
    const int64_t in_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

static int month_of(const char *p, const char *end)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    for (int i = 0; i < 12; i++) {
        if (end - p >= 3 && strncasecmp(p, names + 3 * (size_t)i, 3) == 0)
            return i + 1;
    }
    return 0;
}

static bool read_clock(const char **at, const char *end, int64_t *seconds)
{
    int64_t h, m, s;
    if (!read_digits(at, end, 99, &h) || *at == end || *(*at)++ != ':' || !read_digits(at, end, 99, &m) || *at == end ||
        *(*at)++ != ':' || !read_digits(at, end, 99, &s))
        return false;
    *seconds = h * 3600 + m * 60 + s;
    return true;
}

static void skip(const char **at, const char *end, const char *bytes)
{
    while (*at < end && **at && strchr(bytes, **at))
        ++*at;
}

// "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"
static bool read_date(const char *p, const char *end, int64_t *out)
{
    int64_t day, year, clock;
    int month;
    const char *comma = memchr(p, ',', (size_t)(end - p));
    if (comma) {
        p = comma + 1;
        skip(&p, end, " ");
        if (!read_digits(&p, end, 99, &day))
            return false;
        skip(&p, end, " -");
        month = month_of(p, end);
        p += month ? 3 : 0;
        skip(&p, end, " -");
        if (!month || !read_digits(&p, end, 9999, &year))
            return false;
        year += year < 70 ? 2000 : year < 100 ? 1900 : 0;
        skip(&p, end, " ");
        if (!read_clock(&p, end, &clock))
            return false;
    } else {
        if (end - p < 4)
            return false;
        p += 4;
        month = month_of(p, end);
        p += month ? 3 : 0;
        skip(&p, end, " ");
        if (!month || !read_digits(&p, end, 99, &day))
            return false;
        skip(&p, end, " ");
        if (!read_clock(&p, end, &clock))
            return false;
        skip(&p, end, " ");
        if (!read_digits(&p, end, 9999, &year))
            return false;
    }
    *out = days_of(year, month, day) * 86400 + clock;
    return true;
}

double extract_retry_after(const char *value, size_t n, int64_t now)
{
    const char *p = value, *end = value + n;
    int64_t seconds, date;
    if (read_digits(&p, end, 1 << 30, &seconds) && p == end)
        return (double)seconds;
    if (n > 0 && read_date(value, end, &date))
        return date > now ? (double)(date - now) : 0;
    return -1;
}

static bool is_name(const char *line, size_t n, const char *name)
{
    return n == strlen(name) && strncasecmp(line, name, n) == 0;
}

// Content codings that are no "identity", in a list with commas.
static unsigned count_encodings(const char *value, size_t n)
{
    unsigned count = 0;
    for (size_t at = 0; at < n;) {
        size_t end = at;
        while (end < n && value[end] != ',')
            end++;
        size_t from = at, to = end;
        while (from < to && (value[from] == ' ' || value[from] == '\t'))
            from++;
        while (to > from && (value[to - 1] == ' ' || value[to - 1] == '\t'))
            to--;
        count += to > from && !is_name(value + from, to - from, "identity");
        at = end + 1;
    }
    return count;
}

static void status_line(ExtractHeaders *h, const char *line, size_t n)
{
    const char *space = memchr(line, ' ', n);
    int64_t status = 0;
    if (space) {
        const char *p = space + 1;
        read_digits(&p, line + n, 999, &status);
    }
    *h = (ExtractHeaders){
        .agent = h->agent, .bytes = h->bytes, .answers = h->answers + 1, .status = (int)status, .retry_after = -1};
}

ExtractHeadersVerdict extract_headers_line(ExtractHeaders *h, const char *line, size_t n, int64_t now)
{
    h->bytes =
        n > EXTRACT_HEADER_BYTES || h->bytes + n > EXTRACT_HEADER_BYTES ? EXTRACT_HEADER_BYTES + 1 : h->bytes + n;
    if (n >= 5 && memcmp(line, "HTTP/", 5) == 0)
        status_line(h, line, n);
    if (h->bytes > EXTRACT_HEADER_BYTES || h->answers > EXTRACT_HEADER_ANSWERS)
        return EXTRACT_HEADERS_TOO_LONG;
    const char *colon = memchr(line, ':', n), *end = line + n;
    while (end > line && (unsigned char)end[-1] <= ' ')
        end--;
    if (end == line) {
        h->complete = h->status >= 200;
        return EXTRACT_HEADERS_OK;
    }
    if (!colon || colon >= end)
        return EXTRACT_HEADERS_OK;
    const size_t name = (size_t)(colon - line);
    const char *value = colon + 1;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    const size_t length = (size_t)(end - value);
    if (is_name(line, name, "Retry-After")) {
        h->retry_after = extract_retry_after(value, length, now);
    } else if (is_name(line, name, "X-Robots-Tag")) {
        h->opted_out = h->opted_out || extract_robots_tag(value, length, h->agent);
    } else if (is_name(line, name, "Content-Encoding")) {
        h->encodings += count_encodings(value, length);
    }
    return h->encodings > 1 ? EXTRACT_HEADERS_ENCODED : EXTRACT_HEADERS_OK;
}
