#!/bin/sh
# check_sizes.sh MAKE_FIXTURE CHECK_TRAIN VARIANT: steps recorded in double at other sizes, replayed in float. Then the
# check itself is checked: a recorded number that is changed must be found.
set -eu
dir=$(mktemp -d "${TMPDIR:-/tmp}/vicha-sizes-XXXXXX")
trap 'rm -rf "$dir"' EXIT
"$1" "$dir" "$3"
"$2" "$dir"
sed -i 's/"itm": \([0-9]\)\./"itm": 1\1./' "$dir/fixture.json"
if "$2" "$dir" >"$dir/log"; then
    echo "a wrong loss was not found"
    exit 1
fi
grep -q 'losses of step 1: itm is off' "$dir/log"
