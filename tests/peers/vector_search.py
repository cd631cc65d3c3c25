#!/usr/bin/env python3
"""Vector search beside its peers on this machine: the same vectors, the same queries, in turns.

    vector_search.py VICHA [--rows 1000000] [--data loose|clustered] [--threads 1,2] [--dir DIR] [--seconds 0.6] [--ivf]

Runs `vicha bench search` and, on the very file it made, NumPy, FAISS and usearch, as far as they are installed. Prints a
JSON object for each: milliseconds of one query and of a batch of 64 (median), recall@10 against float32. With --ivf also
inverted files of 1,000 cells (vicha, FAISS with float16 rows). DIR (or $TMPDIR) needs 1.6 kB a row.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

threads_of_run = 1
K = 10


def load(path, rows, dim):
    """Rows of a vector file (docs/FORMATS.md): 4096 bytes of header, then rows of float16."""
    assert dim * 2 % 64 == 0
    return np.memmap(path, dtype=np.float16, mode="r", offset=4096, shape=(rows, dim)).astype(np.float32)


def measure(name, call, queries, truth, seconds, **more):
    one, many = [], []
    found = call(queries)
    recall = sum(len(set(map(int, f)) & set(map(int, t))) for f, t in zip(found, truth)) / truth.size
    end = time.perf_counter() + seconds
    i = 0
    while len(one) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        call(queries[i % len(queries):i % len(queries) + 1])
        one.append(time.perf_counter() - start)
        i += 1
    end = time.perf_counter() + seconds
    while len(many) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call(queries)
        many.append(time.perf_counter() - start)
    print(json.dumps({"program": name, "threads": threads_of_run, **more, "ms": round(statistics.median(one) * 1e3, 2),
                      "batch_ms": round(statistics.median(many) * 1e3, 1), "recall_at_10": round(recall, 4)}), flush=True)


def by_numpy(x):
    def call(q):
        scores = q @ x.T
        best = np.argpartition(scores, -K, axis=1)[:, -K:]
        return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1), 1)
    return call


def faiss_peers(x, ivf, cells):
    import faiss
    out = []
    dim = x.shape[1]
    kinds = faiss.ScalarQuantizer
    flat = faiss.IndexFlatIP(dim)
    flat.add(x)
    out.append(("faiss flat float32", lambda q: flat.search(q, K)[1], {}))
    half = faiss.IndexScalarQuantizer(dim, kinds.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    half.add(x)
    out.append(("faiss flat float16", lambda q: half.search(q, K)[1], {}))
    byte = faiss.IndexScalarQuantizer(dim, kinds.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    byte.train(x[:100000])
    byte.add(x)
    out.append(("faiss flat 8 bit", lambda q: byte.search(q, K)[1], {}))
    refined = faiss.IndexRefineFlat(byte, faiss.swig_ptr(x))
    refined.k_factor = 6.4
    out.append(("faiss 8 bit, 64 refined", lambda q: refined.search(q, K)[1], {}))
    keep = [flat, half, byte, refined, x]
    if ivf:
        coarse = faiss.IndexFlatIP(dim)
        inverted = faiss.IndexIVFScalarQuantizer(coarse, dim, cells, kinds.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        faiss.omp_set_num_threads(2)
        start = time.perf_counter()
        inverted.train(x[:64 * cells])
        inverted.add(x)
        seconds = round(time.perf_counter() - start, 1)
        keep += [coarse, inverted]
        for probe in (1, 4, 16, 64):
            def call(q, probe=probe):
                inverted.nprobe = probe
                return inverted.search(q, K)[1]
            out.append(("faiss ivf float16", call, {"cells": cells, "probe": probe, "build_s": seconds}))
    return out, keep


def usearch_peers(x):
    from usearch.index import MetricKind, search
    half = x.astype(np.float16)
    scale = 127 / np.abs(x).max()
    byte = np.round(x * scale).astype(np.int8)

    def calls(rows, cast):
        return lambda q: search(rows, cast(q), K, MetricKind.IP, exact=True, threads=threads_of_run).keys.reshape(-1, K)
    return [("usearch exact float16", calls(half, lambda q: q.astype(np.float16)), {}),
            ("usearch exact int8", calls(byte, lambda q: np.round(q * scale).clip(-127, 127).astype(np.int8)), {})]


def vicha(args, threads, directory):
    command = [args.vicha, "bench", "search", "--rows", str(args.rows), "--dim", str(args.dim), "--data", args.data,
               "--threads", str(threads), "--keep", directory, "--seconds", str(args.seconds)]
    if args.ivf:
        command += ["--cells", "1000"]
    subprocess.run(command, check=True)


def main():
    global threads_of_run
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("vicha")
    p.add_argument("--rows", type=int, default=1000000)
    p.add_argument("--dim", type=int, default=512)
    p.add_argument("--data", default="loose")
    p.add_argument("--threads", default="1,2")
    p.add_argument("--dir")
    p.add_argument("--seconds", type=float, default=0.6)
    p.add_argument("--ivf", action="store_true")
    args = p.parse_args()
    directory = args.dir or tempfile.mkdtemp(prefix="vicha-peers-")
    threads = [int(t) for t in args.threads.split(",")]
    vicha(args, max(threads), directory)
    x = load(os.path.join(directory, "image-bench.f16"), args.rows, args.dim)
    rng = np.random.default_rng(1)
    queries = rng.standard_normal((64, args.dim), dtype=np.float32)
    if args.data != "loose":  # near stored ones
        noise = rng.standard_normal((64, args.dim), dtype=np.float32) * (0.45 / args.dim ** 0.5)
        queries = x[rng.integers(0, args.rows, 64)] + noise
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    truth = by_numpy(x)(queries)
    peers, keep = [("numpy float32", by_numpy(x), {})], []
    for make in (lambda: faiss_peers(x, args.ivf, 1000), lambda: (usearch_peers(x), None)):
        try:
            more, held = make()
            peers += more
            keep.append(held)
        except ImportError as e:
            print(f"left out: {e}", file=sys.stderr)
    for threads_of_run in threads:
        threadpoolctl.threadpool_limits(threads_of_run)
        try:
            import faiss
            faiss.omp_set_num_threads(threads_of_run)
        except ImportError:
            pass
        for name, call, more in peers:
            measure(name, call, queries, truth, args.seconds, **more)
    args.ivf = False
    vicha(args, max(threads), directory)  # again, so that both stand in the same noise


if __name__ == "__main__":
    import numpy as np
    import threadpoolctl
    main()
