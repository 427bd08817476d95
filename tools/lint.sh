#!/bin/sh
# Refuses what the compiler lets pass: products of sizes as arguments of allocations, which overflow
# without a word (xmalloc_array, arena_array, qonnx_graph_array and lower_array check them),
# functions that do not know where their buffers end, and lines of C over 100 columns. The status is
# 1 when something is found.
#   tools/lint.sh
set -eu
cd "$(dirname "$0")/.."

sources=$(git ls-files -co --exclude-standard '*.c' '*.h' | grep -v '^tests/' |
    while read -r f; do [ ! -f "$f" ] || echo "$f"; done)
found=0

# refuse WHAT PATTERN: lines of the sources that match, operators & and * of one operand left out
refuse() {
    lines=$(grep -nE '\(' $sources |
        sed -E 's/(sizeof|[(,=]|char|void|int|[a-z]+_t) \*+/\1 /g; s/\/ ([0-9A-Z]+) \* \1//g' |
        grep -E "$2") || return 0
    echo "lint.sh: $1:"
    echo "$lines"
    found=1
}

allocations='malloc|realloc|xmalloc|xrealloc|alloca|aligned_alloc|arena_alloc|arena_aligned'
refuse 'a product of sizes in an allocation' \
    "\\b($allocations|lower_alloc|qonnx_graph_alloc)\\([^;:?]* \\* "
refuse 'a function that does not know where its buffer ends' '\b(sprintf|strcat|gets|vsprintf)\('
lines=$(git ls-files -co --exclude-standard '*.c' '*.h' |
    while read -r f; do [ ! -f "$f" ] || LC_ALL=C.UTF-8 grep -nHE '^.{101,}' "$f" || true; done)
if [ -n "$lines" ]; then
    echo "lint.sh: lines over 100 columns:"
    echo "$lines"
    found=1
fi
refuse 'a number read without a check' '\b(atoi|atol|atof)\('
exit $found
