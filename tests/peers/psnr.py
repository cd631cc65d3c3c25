#!/usr/bin/env python3
"""How near vicha's small pictures are to Pillow's: PSNR against its Lanczos and box filters on whole photographs.

    psnr.py PHOTOS [--vicha build/cli/vicha] [--sizes 224 256 384]

Needs Pillow and NumPy. Stored at quality 100 without subsampling, so that what is measured is the resizing. Photographs
with a colour profile other than sRGB are left out: vicha converts them, Pillow's resize does not.
"""
import argparse
import io
import json
import math
import os
import sqlite3
import subprocess
import tarfile
import tempfile

import numpy as np
from PIL import Image

FILTERS = {"Lanczos": Image.Resampling.LANCZOS, "box": Image.Resampling.BOX}


def psnr(a, b):
    return 10 * math.log10(255**2 / max(1e-9, ((a - b) ** 2).mean()))


def measure(o, size):
    found = {name: [] for name in FILTERS}
    with tempfile.TemporaryDirectory() as ws:
        subprocess.run([o.vicha, "extract", "-q", "-w", ws, o.photos, "--size", str(size), "--quality", "100"], check=True)
        keys = dict(sqlite3.connect(os.path.join(ws, "vicha.db")).execute("SELECT image_id, key FROM image WHERE status = 0"))
        for shard in sorted(os.listdir(os.path.join(ws, "images"))):
            with tarfile.open(os.path.join(ws, "images", shard)) as tar:
                for member in tar:
                    if not member.name.endswith(".jpg"):
                        continue
                    photo = Image.open(os.path.join(o.photos, keys[int(member.name[:-4])]))
                    if b"sRGB" not in photo.info.get("icc_profile", b"sRGB"):
                        continue
                    ours = Image.open(io.BytesIO(tar.extractfile(member).read())).convert("RGB")
                    for name, kernel in FILTERS.items():
                        theirs = photo.convert("RGB").resize(ours.size, kernel)
                        found[name].append(psnr(np.asarray(ours, float), np.asarray(theirs, float)))
    return {name: sorted(values) for name, values in found.items()}


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("photos")
    a.add_argument("--vicha", default="build/cli/vicha")
    a.add_argument("--sizes", type=int, nargs="+", default=[224, 256, 384])
    o = a.parse_args()
    for size in o.sizes:
        for name, values in measure(o, size).items():
            print(json.dumps({"size": size, "filter": name, "photographs": len(values), "lowest_db": round(values[0], 1),
                              "tenth_db": round(values[len(values) // 10], 1), "median_db": round(values[len(values) // 2], 1)}))


main()
