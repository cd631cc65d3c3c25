#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""WordPiece against the PyPI package `tokenizers` on captions. Optional: exits 77 where either is not there."""
import json
import os
import subprocess
import sys

OTHER = os.environ.get("VICHA_PYTHON")
if OTHER and os.path.realpath(sys.prefix) != os.path.realpath(os.path.dirname(os.path.dirname(OTHER))):
    os.execv(OTHER, [OTHER] + sys.argv)
try:
    from tokenizers import BertWordPieceTokenizer
except ImportError as e:
    print(f"SKIP: python package tokenizers is not here ({e})")
    sys.exit(77)

shared = os.environ.get("VICHA_SHARED", "")
vocabulary = os.path.join(shared, "golden/bert/vocab.txt")
captions = os.path.join(shared, "data/captions/flickr8k.token.txt")
if not (os.path.exists(vocabulary) and os.path.exists(captions)):
    print("SKIP: the vocabulary or the captions are not here (VICHA_SHARED)")
    sys.exit(77)

lines = [line.rstrip("\n").split("\t")[1] for line in open(captions, encoding="utf-8")][:10000]
expected = [e.ids for e in BertWordPieceTokenizer(vocabulary, lowercase=True).encode_batch(lines)]
out = subprocess.run([os.environ["VICHA"], "tokenize", "--wordpiece", vocabulary, "--sep"], check=True,
                     input="\n".join(lines).encode() + b"\n", stdout=subprocess.PIPE).stdout
got = [json.loads(line) for line in out.splitlines()]
different = [(t, g, e) for t, g, e in zip(lines, got, expected) if g != e]
for text, g, e in different[:5]:
    print(f"different: {text!r}: {g}, expected {e}")
print(f"{len(got)} captions, {len(different)} different")
sys.exit(1 if different or len(got) != len(lines) else 0)
