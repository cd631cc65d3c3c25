#!/usr/bin/env python3
"""Questions to the concept database beside DuckDB and plain SQLite, on the same workspace.

    database.py VICHA WORKSPACE [--rounds 7] [--threads 2]

WORKSPACE is one that `vicha bench db --images 1000000 --keep WORKSPACE` made. `vicha bench db` asks it (its engine and
plain SQLite, in turns), then DuckDB asks the same questions of a table of its own that was sorted by concept and image,
which is what suits it best. Needs numpy. One JSON object a question, milliseconds: the fastest and the median of the rounds.
"""
import argparse
import json
import sqlite3
import statistics
import subprocess
import time

import duckdb
import numpy as np

PAGE = 50


def measure(db, what, question, sql, rounds):
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        rows = db.execute(sql).fetchall()
        times.append((time.perf_counter() - start) * 1e3)
    times = times[1:]
    print(json.dumps({"program": "duckdb " + duckdb.__version__, "what": what, "question": question, "rows": len(rows),
                      "ms": round(min(times), 3), "ms_median": round(statistics.median(times), 3)}), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("vicha")
    p.add_argument("workspace")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--threads", type=int, default=2)
    args = p.parse_args()
    asked = subprocess.run([args.vicha, "bench", "db", "--keep", args.workspace, "--rounds", str(args.rounds)],
                           check=True, stdout=subprocess.PIPE, text=True).stdout
    print(asked, end="", flush=True)
    db = duckdb.connect()
    db.execute(f"SET threads = {args.threads}")
    ws = sqlite3.connect(f"file:{args.workspace}/vicha.db?mode=ro", uri=True)
    stats = ws.execute("SELECT concept_id, images FROM concept_stat").fetchall()
    images = ws.execute("SELECT count(*) FROM image").fetchone()[0]
    pieces, cursor = [], ws.execute("SELECT concept_id, image_id, score FROM image_concept")
    while rows := cursor.fetchmany(1 << 20):
        pieces.append(np.array(rows, dtype=np.int32))
    table = np.concatenate(pieces)
    columns = {name: np.ascontiguousarray(table[:, i]) for i, name in enumerate(("concept_id", "image_id", "score"))}
    start = time.perf_counter()
    db.execute("CREATE TABLE ic AS SELECT * FROM columns ORDER BY concept_id, image_id")
    print(json.dumps({"program": "duckdb " + duckdb.__version__, "what": "sort and store",
                      "seconds": round(time.perf_counter() - start, 1)}), flush=True)

    def near(count, other=-1):
        return min((abs(n - count), c, n) for c, n in stats if c != other)[1:]

    sizes = {"every": images, "common": images // 3, "often": images // 10, "mid": images // 100, "rare": images // 10000}
    for a, b in (("every", "every"), ("every", "common"), ("common", "common"), ("common", "often"), ("often", "often"),
                 ("common", "mid"), ("mid", "mid"), ("every", "rare"), ("rare", "rare")):
        ca, na = near(sizes[a])
        cb, nb = near(sizes[b], ca)
        measure(db, "and", f"{a} and {b} ({na} and {nb} images)",
                f"SELECT a.image_id, a.score + b.score AS s FROM ic a JOIN ic b USING(image_id)"
                f" WHERE a.concept_id = {ca} AND b.concept_id = {cb} ORDER BY s DESC, a.image_id LIMIT {PAGE}", args.rounds)
    for a in ("every", "common", "mid", "rare"):
        ca, na = near(sizes[a])
        measure(db, "best of one", f"{a} ({na} images)",
                f"SELECT image_id, score FROM ic WHERE concept_id = {ca} ORDER BY score DESC, image_id LIMIT {PAGE}",
                args.rounds)


if __name__ == "__main__":
    main()
