#!/usr/bin/env python3
"""Optional: the hostile pictures of the reference data through `vicha extract`, judged by their manifest.

Needs Pillow with WebP and the tools of $VICHA_SHARED; exits 77 without them. The shards are read with tarfile.
"""
import io
import json
import os
import sqlite3
import subprocess
import sys
import tarfile
import tempfile

try:
    from PIL import Image
except ImportError:
    print("SKIP: Pillow is not installed")
    sys.exit(77)
tool = os.path.join(os.environ.get("VICHA_SHARED", ""), "tools", "make_hostile_images.py")
if not os.path.exists(tool):
    print("SKIP: no make_hostile_images.py (VICHA_SHARED names the folder of reference data)")
    sys.exit(77)


def judge(entry, row, jpeg):
    """What is wrong with this result, as a list of texts."""
    status, error = row
    wrong = []
    accepted = status >= 0
    if entry["expect"] == "accept" and not accepted:
        wrong.append(f"rejected: {error}")
    if entry["expect"] == "reject" and accepted:
        wrong.append("accepted")
    if not accepted:
        return wrong
    picture = Image.open(io.BytesIO(jpeg))
    picture.load()
    if picture.mode != "RGB" or picture.format != "JPEG" or "exif" in picture.info or "icc_profile" in picture.info:
        wrong.append(f"stored as {picture.format} {picture.mode} with {sorted(picture.info)}")
    if "width" in entry and picture.size != (entry["width"], entry["height"]):
        wrong.append(f"size {picture.size}")
    for x, y, colour, tolerance in entry.get("probe", []):
        pixel = picture.getpixel((min(picture.width - 1, int(x * picture.width)), min(picture.height - 1, int(y * picture.height))))
        if max(abs(a - b) for a, b in zip(pixel, colour)) > tolerance:
            wrong.append(f"pixel {x},{y} is {pixel}, not {colour}")
    if "must_not_contain" in entry and entry["must_not_contain"].encode() in jpeg:
        wrong.append("luggage reached the output")
    return wrong


def main():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, tool, folder], check=True, stdout=subprocess.DEVNULL)
        with open(os.path.join(folder, "manifest.json")) as f:
            manifest = json.load(f)
        workspace = os.path.join(folder, "ws")
        run = subprocess.run([os.environ["VICHA"], "extract", "--json", "-w", workspace, os.path.join(folder, "files"),
                              "--fit", "keep", "--jobs", "1"], stdout=subprocess.PIPE)
        if run.returncode != 3:
            print(f"vicha ended with {run.returncode}")
            return 1
        rows = {}
        for image, key, status, error in sqlite3.connect(os.path.join(workspace, "vicha.db")).execute(
                "SELECT image_id, key, status, error FROM image"):
            rows[key] = (image, status, error)
        members = {}
        for shard in sorted(os.listdir(os.path.join(workspace, "images"))):
            with tarfile.open(os.path.join(workspace, "images", shard)) as tar:
                for member in tar:
                    members[member.name] = tar.extractfile(member).read()
        failures = 0
        reasons = [0, 0]
        words = {-20: "empty", -21: "not_image", -22: "unsupported", -23: "truncated", -24: "corrupt", -25: "too_large",
                 -26: "too_small", -27: "aspect"}
        for entry in manifest["files"]:
            if entry["file"] not in rows:
                # Without an image's name and without an image's first bytes it is no entry of a folder.
                wrong = [] if entry["expect"] == "reject" and "." not in entry["file"] else ["no row"]
            else:
                image, status, error = rows[entry["file"]]
                wrong = judge(entry, (status, error), members.get("%09d.jpg" % image))
                if entry["expect"] == "reject" and status < 0:
                    reasons[words.get(status) == entry["reason"]] += 1
            if wrong:
                failures += 1
                print(f"not ok: {entry['file']} ({entry['note']}): {'; '.join(wrong)}")
        print(f"{len(manifest['files']) - failures} of {len(manifest['files'])} as the manifest expects; reasons equal to its "
              f"own: {reasons[1]} of {sum(reasons)}; peak memory {json.loads(run.stdout)['peak_rss_mib']} MiB")
        return failures > 0


sys.exit(main())
