#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The ten operations of RandAugment against OpenCV and NumPy, to the byte, on photographs and on odd sizes.

test_augment.py TOOL: compares. test_augment.py --table: prints the CRCs of test_augment.c.
Optional: exits 77 where numpy or cv2 are not there. OpenCV 5 interpolates in floats: there the sheared and turned
pictures may differ by a few units; with OpenCV 4 nothing may.
"""
import glob
import os
import subprocess
import sys
import zlib

OTHER = os.environ.get("VICHA_PYTHON")
if OTHER and os.path.realpath(sys.prefix) != os.path.realpath(os.path.dirname(os.path.dirname(OTHER))):
    os.execv(OTHER, [OTHER] + sys.argv)
try:
    import cv2
    import numpy as np
except ImportError as e:
    print(f"SKIP: numpy or opencv-python-headless is not here ({e})")
    sys.exit(77)


def by_channel(image, make):
    return np.stack([make(image[..., c]).astype(np.uint8)[image[..., c]] for c in range(3)], axis=-1)


def auto_contrast(image, original):
    def table(ch):
        lo, hi = int(ch.min()), int(ch.max())
        v = np.arange(256)
        if hi <= lo:
            return v
        if original:  # the byte's own negative
            return (v * (255 / (hi - lo)) + ((256 - lo) % 256) * (255 / (hi - lo))).clip(0, 255)
        return ((v - lo) * 255 / (hi - lo)).clip(0, 255)

    return by_channel(image, table)


def equalize(image):
    def table(ch):
        h = np.bincount(ch.ravel(), minlength=256)
        step = h[h > 0][:-1].sum() // 255
        before = np.concatenate([[0], h.cumsum()[:-1]])
        return np.arange(256) if step == 0 else ((step // 2 + before) // step).clip(0, 255)

    return by_channel(image, table)


def sharpen(image, factor, original):
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13
    blur = cv2.filter2D(image, -1, kernel).astype(np.float32)
    made = blur + np.float32(factor) * (image.astype(np.float32) - blur)
    made = made.astype(np.int32).astype(np.uint8) if original else made.clip(0, 255).astype(np.uint8)
    out = image.copy()
    out[1:-1, 1:-1] = made[1:-1, 1:-1]
    return out


def affine(image, op, v):
    h, w = image.shape[:2]
    if op == "Rotate":
        m = cv2.getRotationMatrix2D((w / 2, h / 2), v, 1)
    else:
        m = np.float32({"ShearX": [[1, v, 0], [0, 1, 0]], "ShearY": [[1, 0, 0], [v, 1, 0]],
                        "TranslateX": [[1, 0, -v], [0, 1, 0]], "TranslateY": [[1, 0, 0], [0, 1, -v]]}[op])
    return cv2.warpAffine(image, m, (w, h), flags=cv2.INTER_LINEAR, borderValue=(128, 128, 128))


def expected(image, op, v, original):
    if op == "Identity":
        return image
    if op == "AutoContrast":
        return auto_contrast(image, original)
    if op == "Equalize":
        return equalize(image)
    if op == "Brightness":
        return (np.arange(256, dtype=np.float32) * np.float32(v)).clip(0, 255).astype(np.uint8)[image]
    if op == "Sharpness":
        return sharpen(image, v, original)
    return affine(image, op, v)


CASES = [("Identity", 0, False), ("AutoContrast", 0, False), ("AutoContrast", 0, True), ("Equalize", 0, False),
         ("Brightness", 1.36, False), ("Brightness", 0.28, False), ("Sharpness", 1.36, False),
         ("Sharpness", 1.36, True), ("Sharpness", 0.46, False), ("ShearX", 0.21, False), ("ShearX", -0.21, False),
         ("ShearY", 0.21, False), ("ShearY", -0.3, False), ("TranslateX", 7, False), ("TranslateX", -7, False),
         ("TranslateY", 7, False), ("TranslateY", -7.5, False), ("Rotate", 21, False), ("Rotate", -21, False),
         ("Rotate", 3.7, False)]
SIZES = [(1, 1), (2, 9), (3, 3), (7, 5), (33, 20), (64, 64), (300, 11)]


def made_image(w, h, kind):
    if kind == 1:
        x, y, c = np.meshgrid(np.arange(w), np.arange(h), np.arange(3))
        return (40 + (5 * x + 3 * y + 17 * c) % 150).astype(np.uint8)
    state, values = w * 1000 + h, []
    for _ in range(w * h * 3):
        state = (state * 1664525 + 1013904223) % 2**32
        values.append(state >> 24)
    return np.array(values, np.uint8).reshape(h, w, 3)


if sys.argv[1] == "--table":
    for op, v, original in CASES:
        crcs = [zlib.crc32(np.ascontiguousarray(expected(made_image(w, h, k), op, v, original)).tobytes())
                for k in range(2) for w, h in SIZES]
        print(f"{{TRAIN_{''.join('_' + c if c.isupper() else c for c in op).strip('_').upper()}, {v}, "
              f"{str(original).lower()}, {{{', '.join(f'0x{c:08X}' for c in crcs)}}}}},")
    sys.exit(0)

TOOL = sys.argv[1]
images = [(f"made {w}x{h}", made_image(w, h, k)) for k in range(2) for w, h in SIZES]
photos = sorted(glob.glob(os.path.join(os.environ.get("VICHA_SHARED", ""), "data/photos/**/*.jpg"), recursive=True))
for i, path in enumerate(photos[:12]):
    image = cv2.imread(path)[..., ::-1]
    images.append((os.path.basename(path), np.ascontiguousarray(image)))
    side = [256, 128, 127, 380][i % 4]
    images.append((f"{os.path.basename(path)} at {side}", np.ascontiguousarray(
        cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))))
floats = int(cv2.__version__.split(".")[0]) >= 5
compared = bad = 0
for name, image in images:
    h, w = image.shape[:2]
    for op, v, original in CASES:
        out = subprocess.run([TOOL, op, str(v), str(w), str(h)] + (["original"] if original else []), check=True,
                             input=image.tobytes(), stdout=subprocess.PIPE).stdout
        got = np.frombuffer(out, np.uint8).reshape(h, w, 3).astype(int)
        difference = int(np.abs(got - expected(image, op, v, original)).max())
        compared += 1
        if difference > (12 if floats and (op[:5] in ("Shear", "Rotat") or v == -7.5) else 0):
            bad += 1
            print(f"different: {op} {v} on {name} ({w} x {h}): by up to {difference}")
print(f"OpenCV {cv2.__version__}: {compared} pictures compared, {len(photos[:12])} photographs, {bad} differ")
sys.exit(1 if bad else 0)
