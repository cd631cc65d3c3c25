// SPDX-License-Identifier: MIT
#include "extract/pace.h"

static const double shortest_round = 0.1; // seconds
static const double first_growth = 2, growth = 1.5, gain = 1.08, probe = 1.1, shrink = 2.0 / 3;
enum { LEAST_ANSWERS = 8, HOLD_ROUNDS = 4 };

static void begin_round(ExtractPace *p, double now)
{
    p->since = now;
    p->good = p->bad = 0;
    p->used = false;
}

static void set_window(ExtractPace *p, double window)
{
    p->window = window < 1 ? 1 : window > p->ceiling ? p->ceiling : window;
}

void extract_pace_init(ExtractPace *pace, double start, double ceiling)
{
    *pace = (ExtractPace){.ceiling = ceiling < 1 ? 1 : ceiling};
    set_window(pace, start);
}

size_t extract_pace_window(const ExtractPace *pace)
{
    return (size_t)pace->window;
}

void extract_pace_started(ExtractPace *pace, double now, size_t active)
{
    if (pace->since == 0)
        begin_round(pace, now);
    pace->used = pace->used || active >= extract_pace_window(pace);
}

static void end_round(ExtractPace *p, double now)
{
    const double rate = p->good / (now - p->since);
    if (p->bad * 4 > p->good + p->bad) {
        set_window(p, p->window * shrink);
        p->settled = true;
        p->rate = 0;
        p->held = 0;
    } else if (p->used && rate > p->rate * gain) {
        p->rate = rate;
        set_window(p, p->window * (p->settled ? growth : first_growth));
        p->held = 0;
    } else if (p->used) {
        p->settled = true;
        if (++p->held >= HOLD_ROUNDS) {
            p->rate = rate;
            set_window(p, p->window * probe + 1);
            p->held = 0;
        }
    }
    begin_round(p, now);
}

void extract_pace_ended(ExtractPace *pace, double now, bool bad)
{
    pace->good += !bad;
    pace->bad += bad;
    const double answers = pace->good + pace->bad;
    if (answers >= LEAST_ANSWERS && answers >= pace->window && now - pace->since >= shortest_round)
        end_round(pace, now);
}

void extract_pace_halve(ExtractPace *pace, double now)
{
    set_window(pace, pace->window / 2);
    pace->settled = true;
    pace->rate = 0;
    pace->held = 0;
    begin_round(pace, now);
}
