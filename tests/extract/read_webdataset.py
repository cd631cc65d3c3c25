#!/usr/bin/env python3
"""Optional: the shards of `vicha extract` read by the webdataset package: every image with its caption and its JSON.

Exits 77 without webdataset.
"""
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile

try:
    import webdataset
except ImportError:
    print("SKIP: webdataset is not installed")
    sys.exit(77)


def main():
    with tempfile.TemporaryDirectory() as folder:
        photos, ws = os.path.join(folder, "photos"), os.path.join(folder, "ws")
        subprocess.run([os.environ["MAKE_IMAGES"], photos, "25", "80"], check=True)
        names = sorted(n for n in os.listdir(photos) if n.endswith(".jpg"))
        source = os.path.join(folder, "list.jsonl")
        with open(source, "w") as f:
            for i, name in enumerate(names):
                for k in range(1 + i % 3):
                    f.write(json.dumps({"image": name, "caption": f"caption {k} of \"{name}\" é", "mark": i}) + "\n")
        subprocess.run([os.environ["VICHA"], "extract", "-q", "-w", ws, source, "--root", photos, "--shard-images", "10"],
                       check=True)
        shards = sorted(os.path.join(ws, "images", s) for s in os.listdir(os.path.join(ws, "images")))
        assert len(shards) == 3, shards
        keys = dict(sqlite3.connect(os.path.join(ws, "vicha.db")).execute("SELECT image_id, key FROM image"))
        seen = set()
        for sample in webdataset.WebDataset(shards, shardshuffle=False):
            name = keys[int(sample["__key__"])]
            i = names.index(name)
            described = json.loads(sample["json"])
            captions = [f"caption {k} of \"{name}\" é" for k in range(1 + i % 3)]
            with open(os.path.join(photos, name), "rb") as f:
                digest = hashlib.sha256(f.read()).hexdigest()
            assert sample["jpg"][:3] == b"\xff\xd8\xff" and sample["jpg"][-2:] == b"\xff\xd9"
            assert sample["txt"].decode().splitlines() == captions, sample["txt"]
            assert described["captions"] == captions and described["path"] == name and described["sha256"] == digest
            assert described["columns"]["mark"] in (i, str(i)), described
            seen.add(name)
        assert seen == set(names), len(seen)
    print(f"{len(seen)} samples read by webdataset {webdataset.__version__}")


main()
