#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Records against the PyPI package mosaicml-streaming, both ways. Optional: exits 77 where the package is not there.

VICHA_PYTHON names another interpreter that has it (a virtual environment's python)."""
import json
import os
import subprocess
import sys
import tempfile

OTHER = os.environ.get("VICHA_PYTHON")
if OTHER and os.path.realpath(sys.prefix) != os.path.realpath(os.path.dirname(os.path.dirname(OTHER))):
    os.execv(OTHER, [OTHER] + sys.argv)
try:
    import numpy as np
    from streaming import LocalDataset, MDSWriter, StreamingDataset
    from streaming.base.format.mds.encodings import mds_decode, mds_encode
    from streaming.base.util import clean_stale_shared_memory
except ImportError as e:
    print(f"SKIP: python package mosaicml-streaming is not here ({e})")
    sys.exit(77)

TOOL, VICHA = sys.argv[1], os.environ["VICHA"]


def dump(folder):
    """Raw fields of every record as our reader sees them: a list of {column: bytes}."""
    out = subprocess.run([TOOL, "dump", folder], check=True, stdout=subprocess.PIPE).stdout
    return [{k: bytes.fromhex(v) for k, v in json.loads(line).items()} for line in out.splitlines()]


def same(name, encoding, value, raw):
    """Is `value`, which their reader decoded, what the raw field holds?"""
    if encoding in ("jpeg", "png"):
        return True  # a decoded picture; compared by the caller as bytes
    if encoding == "json":
        return json.loads(raw) == value
    if encoding.startswith("ndarray") and value.size == 0:
        return raw == b"\x04\x00"  # their writer refuses what their reader reads
    return mds_encode(encoding, value) == raw


def check_ours(folder, images):
    """A set of ours through LocalDataset and StreamingDataset. `images`: are the pictures real?"""
    index = json.load(open(os.path.join(folder, "index.json")))
    entry = index["shards"][0]
    encodings = dict(zip(entry["column_names"], entry["column_encodings"]))
    raw = dump(folder)
    assert len(raw) == index["x_vc"]["total"] == sum(s["samples"] for s in index["shards"]) > 0
    for shard in index["shards"]:
        config = {k: shard[k] for k in shard if k not in ("raw_data", "samples", "zip_data")}
        data = open(os.path.join(folder, shard["raw_data"]["basename"]), "rb").read()
        n = int.from_bytes(data[:4], "little")
        first = int.from_bytes(data[4:8], "little")
        assert data[8 + 4 * n:first].decode() == json.dumps(config, sort_keys=True)
    assert open(os.path.join(folder, "index.json")).read() == json.dumps(index, sort_keys=True)
    compared = 0
    if images:
        clean_stale_shared_memory()
        for data in (LocalDataset(folder), StreamingDataset(local=folder, batch_size=1, shuffle=False)):
            assert len(data) == len(raw)
            for i in range(len(raw)):
                sample = data[i]
                assert sorted(sample) == sorted(raw[i])
                for name, value in sample.items():
                    assert same(name, encodings[name], value, raw[i][name]), (i, name, value)
                    compared += 1
    else:  # the pictures are noise: decode the other columns with their code
        for i, record in enumerate(raw):
            for name, field in record.items():
                if name != "image":
                    value = mds_decode(encodings[name], field)
                    assert same(name, encodings[name], value, field), (i, name, value)
                    compared += 1
    return len(raw), compared


ALL = {
    "a_bytes": "bytes", "b_str": "str", "c_json": "json", "d_int": "int", "e_u8": "uint8", "e_u16": "uint16",
    "e_u32": "uint32", "e_u64": "uint64", "f_i8": "int8", "f_i16": "int16", "f_i32": "int32", "f_i64": "int64",
    "g_f16": "float16", "g_f32": "float32", "g_f64": "float64", "h_dyn": "ndarray:int32",
    "h_static": "ndarray:float32:2,3", "h_wide": "ndarray:uint8", "h_half": "ndarray:float16",
}


def sample(rng, i):
    def ints(t):
        info = np.iinfo(t)
        return rng.integers(info.min, info.max, dtype=t, endpoint=True)
    return {
        "a_bytes": rng.bytes(int(rng.integers(0, 50))), "b_str": "grün 🐕 " * int(rng.integers(0, 4)),
        "c_json": {"k": [1, None, "ß"], "i": i}, "d_int": int(ints("int64")),
        "e_u8": ints("uint8"), "e_u16": ints("uint16"), "e_u32": ints("uint32"), "e_u64": ints("uint64"),
        "f_i8": ints("int8"), "f_i16": ints("int16"), "f_i32": ints("int32"), "f_i64": ints("int64"),
        "g_f16": np.float16(rng.normal()), "g_f32": np.float32(rng.normal()), "g_f64": np.float64(rng.normal()),
        "h_dyn": rng.integers(-9, 9, tuple(rng.integers(1, 4, int(rng.integers(1, 4)))), dtype="int32"),
        "h_static": rng.normal(size=(2, 3)).astype("float32"),
        "h_wide": rng.integers(0, 255, (1, 300), dtype="uint8"), "h_half": rng.normal(size=(1, 2, 1)).astype("float16"),
    }


def check_theirs(folder, **options):
    """A set that their writer wrote, through our reader, verify, and (packed) unpack."""
    rng = np.random.default_rng(7)
    samples = [sample(rng, i) for i in range(70)]
    with MDSWriter(out=folder, columns=ALL, **options) as w:
        for s in samples:
            w.write(s)
    run = subprocess.run([VICHA, "index", "--verify", folder, "--json"], stdout=subprocess.PIPE, check=True)
    report = json.loads(run.stdout)
    assert report["records"] == 70 and report["bad"] == 0, report
    assert report["packed"] == bool(options.get("compression"))
    if options.get("compression"):
        assert subprocess.run([TOOL, "dump", folder], stderr=subprocess.PIPE).returncode == 1
        subprocess.run([VICHA, "index", "--unpack", folder, "-q"], stdout=subprocess.DEVNULL, check=True)
    raw = dump(folder)
    assert len(raw) == 70
    for s, r in zip(samples, raw):
        assert sorted(s) == sorted(r)
        for name, value in s.items():
            assert mds_encode(ALL[name], value) == r[name], name
    return len(raw)


def check_refused(folder, columns, record, words, **options):
    with MDSWriter(out=folder, columns=columns, **options) as w:
        w.write(record)
    run = subprocess.run([VICHA, "index", "--verify", folder], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    assert run.returncode == 1 and words in run.stderr, run.stderr


def main():
    with tempfile.TemporaryDirectory() as top:
        ours = os.path.join(top, "ours")
        subprocess.run([TOOL, "write", ours, "3", "200", "20000"], check=True)
        n, compared = check_ours(ours, images=False)
        print(f"our set: {n} records, {compared} fields equal")
        if len(sys.argv) > 2:  # a set with real pictures
            n, compared = check_ours(sys.argv[2], images=True)
            print(f"{sys.argv[2]}: {n} records, {compared} fields equal through LocalDataset and StreamingDataset")
        subprocess.run([VICHA, "index", "--pack", ours, "-q"], stdout=subprocess.DEVNULL, check=True)
        index = json.load(open(os.path.join(ours, "index.json")))
        assert all(s["compression"] == "gz:6" for s in index["shards"])
        clean_stale_shared_memory()
        packed = StreamingDataset(local=ours, batch_size=1, shuffle=False)
        packed.prepare_shard(0)  # their client inflates it
        name = index["shards"][0]["raw_data"]["basename"]
        assert os.path.getsize(os.path.join(ours, name)) == index["shards"][0]["raw_data"]["bytes"]
        print("packed set: their client unpacks it")
        for i, options in enumerate(({}, {"hashes": ["sha1", "xxh64"]}, {"size_limit": 3000}, {"size_limit": None},
                                     {"compression": "gz"}, {"compression": "gz:9", "hashes": ["md5", "sha1"]},
                                     {"hashes": ["md5", "xxh128"], "size_limit": "4kb"})):
            n = check_theirs(os.path.join(top, f"theirs{i}"), **options)
            print(f"their set {options}: {n} records equal")
        check_refused(os.path.join(top, "r0"), {"x": "pkl"}, {"x": {1}}, b"'pkl'")
        check_refused(os.path.join(top, "r1"), {"x": "ndarray"}, {"x": np.ones(2)}, b"without a type")
        check_refused(os.path.join(top, "r2"), {"x": "int"}, {"x": 1}, b"zstd:3", compression="zstd:3")
        check_refused(os.path.join(top, "r3"), {"x": "int"}, {"x": 1}, b"bz2", compression="bz2")
        print("pkl, untyped arrays, zstd and bz2 are refused by name")


main()
