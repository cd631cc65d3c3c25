// SPDX-License-Identifier: MIT
// How many transfers at a time: starts small, grows while more transfers bring more answers a second, shrinks when the
// other side suffers. The same rule for the whole run and for one host.
//
// The rule: time is cut into rounds of about one window of answers. After a round that used the window and was faster
// than what the smaller window gave, the window doubles, and once it has settled grows by half; after one that was not,
// it stays, and is tried a tenth larger every few rounds. A round with many failures takes a third off. Threads: one;
// the clock is the caller's.
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    double window, ceiling;
    double since;       // when the round began
    double rate;        // answers a second that the last growth was based on
    unsigned good, bad; // answers of this round
    unsigned held;      // rounds without growth
    bool used;          // the window was full in this round
    bool settled;       // the first growth has come to its end
} ExtractPace;

void extract_pace_init(ExtractPace *pace, double start, double ceiling);
size_t extract_pace_window(const ExtractPace *pace); // transfers that may be under way, at least 1
// A transfer is started and `active` are now under way.
void extract_pace_started(ExtractPace *pace, double now, size_t active);
// One has ended. `bad`: by a sign of overload (a time-out, a broken connection, 429, 503).
void extract_pace_ended(ExtractPace *pace, double now, bool bad);
// The other side has asked for less (429, 503): half of it now.
void extract_pace_halve(ExtractPace *pace, double now);
