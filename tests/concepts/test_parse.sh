#!/bin/sh
# vicha parse on lines that no caption should be: a line out for each line in, the same on any number of threads.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
number=0
bad=0

ok() { # ok STATUS NAME
    number=$((number + 1))
    [ "$1" -eq 0 ] && echo "ok $number - $2" || { echo "not ok $number - $2" && bad=1; }
}
same() { # same NAME A B
    [ "$2" = "$3" ] && ok 0 "$1" || { echo "# '$2' is not '$3'" && ok 1 "$1"; }
}

printf 'A dog runs .\n' | "$VICHA" parse >"$work/out"
same 'a caption' "$(cat "$work/out")" '{"caption": "A dog runs .", "concepts": ["dog"], "attributes": [], "relations": []}'
printf 'She holds a red ball .\n' | "$VICHA" parse --reference --no-attributes --no-relations >"$work/out"
same 'only concepts, with pronouns' "$(cat "$work/out")" '{"caption": "She holds a red ball .", "concepts": ["she", "ball"]}'
"$VICHA" parse </dev/null >"$work/out"
same 'nothing in, nothing out' "$(wc -c <"$work/out")" 0

{
    printf '\n\r\n \t \n'
    printf 'a dog \377\376 on a mat\n\303\n\355\240\200\n\360\237\220\266 a dog \360\237\220\266\n'
    printf 'a \000 dog\n\001\002\033[31mred\033[0m\n'
    printf '<p class="x">A &amp; B</p> <br/> http://example.org/?a=b&c=d www.x.org\n'
    printf '\346\227\245\346\234\254 \320\272\320\276\321\202 \330\271\330\261\330\250\330\252\n'
    printf '"quoted" \\back\\slash {"json": 1}\n'
    head -c 1200000 /dev/zero | tr '\0' 'a' && printf '\n'
    awk 'BEGIN { for (i = 0; i < 60000; i++) printf "a dog in front of a man, "; print "" }'
    awk 'BEGIN { for (i = 0; i < 200000; i++) printf "-"; print "" }'
    awk 'BEGIN { for (i = 0; i < 10000; i++) print "A man number " i " rides a brown horse ." }'
    printf 'a last line without an end'
} >"$work/in"
lines=$(($(tr -cd '\n' <"$work/in" | wc -c) + 1))
"$VICHA" parse --threads 1 <"$work/in" >"$work/one"
same 'a line for each' "$(wc -l <"$work/one")" "$lines"
same 'each is an object with a caption' "$(grep -c '^{"caption": ".*\]}$' "$work/one")" "$lines"
same 'no control characters' "$(tr -d '\n' <"$work/one" | tr -cd '\000-\037' | wc -c)" 0
"$VICHA" parse --threads 3 <"$work/in" >"$work/three"
cmp -s "$work/one" "$work/three" && ok 0 'threads change nothing' || ok 1 'threads change nothing'
"$VICHA" parse "$work/in" "$work/in" >"$work/twice"
same 'two files' "$(wc -l <"$work/twice")" $((2 * lines))
head -c 500000 "$work/in" | "$VICHA" parse >"$work/cut"
same 'a file cut in the middle' "$(wc -l <"$work/cut")" "$(($(head -c 500000 "$work/in" | tr -cd '\n' | wc -c) + 1))"

"$VICHA" parse --parser "$work/in" </dev/null >"$work/out" 2>"$work/log" && ok 1 'no model' || ok 0 'what is no model is refused'
grep -q "$work/in" "$work/log" && ok 0 '... by name' || ok 1 '... by name'
"$VICHA" parse "$work/none" >"$work/out" 2>"$work/log" && ok 1 'no file' || ok 0 'a missing file is refused'
echo "1..$number"
exit $bad
