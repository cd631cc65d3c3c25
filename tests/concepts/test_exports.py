#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Exports and vicha.db as other programs read them. Each part is skipped where its package is not there; without any of
them the test exits 77. VICHA_PYTHON names another interpreter (a virtual environment's python)."""
import importlib
import json
import os
import sqlite3
import subprocess
import sys
import tarfile
import tempfile

OTHER = os.environ.get("VICHA_PYTHON")
if OTHER and os.path.realpath(sys.prefix) != os.path.realpath(os.path.dirname(os.path.dirname(OTHER))):
    os.execv(OTHER, [OTHER] + sys.argv)

VICHA = os.environ["VICHA"]
INPUTS, CLIP = (os.path.abspath(path) for path in sys.argv[1:3])
done, skipped = [], []


def vicha(*arguments):
    return subprocess.run([VICHA, *arguments], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout


def part(*modules):
    """Runs the function at once when its modules are there."""
    def decorate(run):
        try:
            found = [importlib.import_module(name) for name in modules]
        except ImportError as e:
            skipped.append(f"{run.__name__} ({e.name})")
            return run
        run(*found)
        done.append(run.__name__)
        return run
    return decorate


tmp = tempfile.TemporaryDirectory()
root = tmp.name
ws, db = os.path.join(root, "ws"), os.path.join(root, "ws", "vicha.db")
subprocess.run([INPUTS, os.path.join(root, "in"), "12"], check=True)
model = subprocess.run([CLIP], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
vicha("extract", "-q", "-w", ws, os.path.join(root, "in", "captions.jsonl"))
vicha("concepts", "-q", "-w", ws, "--clip", model, "--min-count", "1")
subprocess.run(["rm", "-rf", model], check=True)
rows = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
ids = [i for i, in rows.execute("SELECT image_id FROM image ORDER BY 1")]
captions = dict(rows.execute("SELECT image_id, text FROM caption"))
concepts = {i: [t for t, in rows.execute("SELECT text FROM image_concept JOIN concept USING(concept_id) WHERE image_id = ?"
                                         " ORDER BY rank", (i,))] for i in ids}


@part("json")
def vicha_json(_):
    """What ViCHA's loaders take out of an entry."""
    entries = json.loads(vicha("export", "vicha-json", "-w", ws, "--form", "pairs"))
    assert len(entries) == 12
    for i, e in zip(ids, entries):
        assert e["caption"] == captions[i] and e["image_id"] == i and e["kwords"] == concepts[i], e
        assert os.path.isfile(os.path.join(root, "in", e["image"]))
    lists = json.loads(vicha("export", "vicha-json", "-w", ws, "--form", "lists"))
    assert [e["caption"] for e in lists] == [[captions[i]] for i in ids]


@part("tarfile")
def webdataset(_):
    out = os.path.join(root, "shards")
    vicha("export", "webdataset", "-w", ws, "-o", out, "--shard-images", "7")
    seen = []
    for name in sorted(os.listdir(out)):
        with tarfile.open(os.path.join(out, name)) as tar:
            members = {m.name: tar.extractfile(m).read() for m in tar}
        for key in sorted({n.split(".")[0] for n in members}):
            assert members[key + ".jpg"][:2] == b"\xff\xd8"
            facts = json.loads(members[key + ".json"])
            assert facts["captions"] == [captions[int(key)]] and facts["concepts"] == concepts[int(key)]
            assert members[key + ".txt"].decode() == captions[int(key)] + "\n"
            seen.append(int(key))
    assert seen == ids


@part("csv")
def csv_lists(csv):
    table = list(csv.DictReader(vicha("export", "csv", "-w", ws).decode().splitlines(keepends=True)))
    assert [json.loads(r["concepts"]) for r in table] == [concepts[i] for i in ids]
    assert [r["caption"] for r in table] == [captions[i] for i in ids]


@part("numpy")
def npy(np):
    path = os.path.join(root, "x.npy")
    vicha("export", "npy", "-w", ws, "-o", path)
    x, numbers = np.load(path), np.load(path.replace(".npy", ".ids.npy"))
    assert x.dtype == np.float32 and x.shape[0] == 12 and list(numbers) == ids
    assert np.allclose(np.linalg.norm(x, axis=1), 1, atol=2e-3)
    vicha("export", "npy", "-w", ws, "-o", path, "--concepts")
    names = json.load(open(path.replace(".npy", ".names.json"), encoding="utf-8"))
    scores = x @ np.load(path).T
    assert names[int(np.argmax(scores[0]))] == concepts[ids[0]][0]


@part("pandas", "pyarrow")
def parquet(pd, _):
    path = os.path.join(root, "ws.csv")
    vicha("export", "csv", "-w", ws, "-o", path)
    lists = {c: lambda s: json.loads(s or "[]") for c in ("captions", "concepts", "scores")}
    pd.read_csv(path, converters=lists, keep_default_na=False).to_parquet(path + ".parquet")
    assert [list(c) for c in pd.read_parquet(path + ".parquet").concepts] == [concepts[i] for i in ids]


@part("streaming")
def mds(streaming):
    out = os.path.join(root, "mds")
    vicha("export", "mds", "-w", ws, "-o", out)
    records = list(streaming.LocalDataset(local=out))
    assert [int(r["image_id"]) for r in records] == ids
    assert [r["concepts"] for r in records] == [concepts[i] for i in ids]
    assert all(r["image"].size[0] > 0 and len(r["concept_scores"]) == len(r["concepts"]) for r in records)


@part("sqlite_utils")
def sqlite_utils_tables(sqlite_utils):
    base = sqlite_utils.Database(rows)
    assert base["image"].count == 12 and "v_image" in base.view_names()
    assert {r["text"] for r in base["caption"].rows} == set(captions.values())


@part("duckdb")
def duckdb_attach(duckdb):
    connection = duckdb.connect()
    try:
        connection.execute("INSTALL sqlite; LOAD sqlite")
    except duckdb.Error as e:
        skipped.append(f"duckdb's sqlite extension ({str(e).splitlines()[0][:60]})")
        return
    connection.execute(f"ATTACH '{db}' AS v (TYPE sqlite, READ_ONLY)")
    assert connection.execute("SELECT count(*) FROM v.image").fetchone() == (12,)


@part("datasette.app", "yaml", "asyncio")
def datasette_pages(app, yaml, asyncio):
    metadata = yaml.safe_load(vicha("export", "datasette", "-w", ws))
    tables = {n for n, in rows.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")}
    described = metadata["databases"]["vicha"]
    assert set(described["tables"]) <= tables, set(described["tables"]) - tables
    for table, facts in described["tables"].items():
        columns = {r[1] for r in rows.execute(f"PRAGMA table_info('{table}')")}
        assert set(facts.get("columns", {})) <= columns, (table, set(facts["columns"]) - columns)

    async def ask():
        site = app.Datasette([db], metadata=metadata, settings={"num_sql_threads": 1})
        await site.invoke_startup()
        found = (await site.client.get("/vicha/v_image.json?_shape=array")).json()
        assert len(found) == 12, found
        first = concepts[ids[0]][0]
        for name, query in described["queries"].items():
            values = {"concept": first, "first": first, "second": concepts[ids[0]][1], "words": "dog"}
            answer = await site.client.get(f"/vicha/{name}.json", params={"_shape": "array", **values})
            assert answer.status_code == 200, (name, answer.text[:300])
            if name.startswith(("best_images", "images_with", "captions_with", "concepts_by")):
                assert len(answer.json()) > 0, name
        page = await site.client.get("/vicha/v_concept")
        assert page.status_code == 200 and "mean cosine over those images" in page.text
    asyncio.run(ask())


print("read by: " + ", ".join(done))
if skipped:
    print("SKIP: not here: " + ", ".join(skipped))
tmp.cleanup()
