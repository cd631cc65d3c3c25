#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""annotate-captions.py [--model en_core_web_sm] [--source NAME] [FILE...] > silver.tsv

Lines of captions to the annotated captions that `vicha concepts train-parser` reads (docs/caption-parser.md). Needs spaCy
and one of its models with a tagger and a parser. Some 1,000 captions a second on one core.
"""
import argparse
import fileinput
import sys

# Middle nouns of these are no concepts when the parse hangs the words together: "in front of a house".
PHRASES = {"in addition to", "in front of", "in reference to", "in regard to", "in spite of", "on account of",
           "on top of", "on side of", "on the side of", "with regard to"}


def phrase_nouns(doc):
    """Tokens that are the noun inside one of PHRASES."""
    found = set()
    for chunk in doc.noun_chunks:
        preposition = chunk.root.head
        noun = preposition.head
        if (chunk.root.dep_ == "pobj" and noun.dep_ == "pobj"
                and doc[noun.head.i:preposition.i + 1].text.lower() in PHRASES):
            found.add(noun.i)
    return found


def roles(doc):
    """One letter a token: H head, P pronoun head, C compound, M modifier, O other."""
    out = ["O"] * len(doc)
    skip = phrase_nouns(doc)
    for chunk in doc.noun_chunks:
        head = chunk.root
        if head.i in skip:
            continue
        out[head.i] = "P" if head.pos_ == "PRON" else "H"
        for child in head.children:
            if child.dep_ == "compound":
                out[child.i] = "C"
            elif child.dep_ in ("amod", "nummod"):
                out[child.i] = "M"
                for joined in child.children:
                    if child.dep_ == "amod" and joined.dep_ == "conj":
                        out[joined.i] = "M"
    return out


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", default="en_core_web_sm", help="a spaCy model")
    ap.add_argument("--source", default="captions", help="what is written after '# '")
    ap.add_argument("files", nargs="*", help="captions, one a line (standard input)")
    args = ap.parse_args()
    import spacy
    nlp = spacy.load(args.model, exclude=["ner"])
    lines = fileinput.input(args.files, openhook=fileinput.hook_encoded("utf-8"))
    captions = (" ".join(line.split()) for line in lines)
    for doc in nlp.pipe((c for c in captions if c), batch_size=256):
        write(doc, args.source, sys.stdout)


def write(doc, source, out):
    out.write("# %s\n" % source)
    for token, role in zip(doc, roles(doc)):
        lemma = "_" if token.lemma_ == token.lower_ else token.lemma_
        out.write("\t".join([token.text, "1" if token.whitespace_ else "0", lemma or "_", token.tag_ or "_",
                             token.pos_ or "X", token.dep_ or "dep", str(token.head.i - token.i), role]) + "\n")
    out.write("\n")


if __name__ == "__main__":
    main()
