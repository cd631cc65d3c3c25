#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The hub's own client and `vicha model pull` share one cache: each finds what the other fetched.

Optional: exits 77 where huggingface_hub is not installed. VICHA_PYTHON may name a Python that has it.
"""
import json
import os
import subprocess
import sys
import tempfile

other = os.environ.get("VICHA_PYTHON")
if other and os.path.realpath(other) != os.path.realpath(sys.executable) and "VICHA_PYTHON_USED" not in os.environ:
    os.environ["VICHA_PYTHON_USED"] = "1"
    os.execv(other, [other, *sys.argv])
try:
    import huggingface_hub  # noqa: F401
except ImportError:
    print("SKIP: the Python package 'huggingface_hub' is not installed (VICHA_PYTHON names a Python that has it)")
    sys.exit(77)

VICHA, SERVER = os.environ["VICHA"], os.environ["HUB_SERVER"]
failures = 0


def check(what, ok, more=""):
    global failures
    if not ok:
        failures += 1
        print("not ok:", what, more)


CLIENT = """
import json, sys
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download
name, patterns = sys.argv[1], json.loads(sys.argv[2])
folder = snapshot_download(name, allow_patterns=patterns)
info = scan_cache_dir()
print(json.dumps({"folder": folder, "file": hf_hub_download(name, "model.safetensors"),
                  "warnings": [str(w) for w in info.warnings],
                  "repos": sorted(r.repo_id for r in info.repos),
                  "files": sorted(f.file_name for r in info.repos if r.repo_id == name
                                  for v in r.revisions for f in v.files),
                  "refs": sorted(ref for r in info.repos if r.repo_id == name for ref in r.refs)}))
"""


def client(env, name, patterns=None):
    done = subprocess.run([sys.executable, "-c", CLIENT, name, json.dumps(patterns)], env=env, capture_output=True,
                          text=True)
    if done.returncode != 0:
        check(f"the client on {name}", False, done.stderr[-2000:])
        return None
    return json.loads(done.stdout.splitlines()[-1])


def vicha(env, *arguments):
    return subprocess.run([VICHA, *arguments], env=env, capture_output=True, text=True)


def main():
    with tempfile.TemporaryDirectory() as tmp:
        for name in ("ours", "theirs"):
            folder = os.path.join(tmp, "hub", "org", name)
            os.makedirs(os.path.join(folder, "sub"))
            for file, data in (("config.json", b"{}"), ("vocab.txt", b"a\n"), ("sub/x.json", b"[1]"),
                               ("model.safetensors", name.encode() * 300000)):
                with open(os.path.join(folder, file), "wb") as f:
                    f.write(data)
        server = subprocess.Popen([SERVER, os.path.join(tmp, "hub"), os.path.join(tmp, "log")], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        port, _ = server.stdout.readline().split()
        env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        env.update(HF_HOME=os.path.join(tmp, "home"), HF_ENDPOINT=f"http://127.0.0.1:{port}",
                   HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_PROGRESS_BARS="1", HF_HUB_DISABLE_XET="1",
                   NO_PROXY="127.0.0.1,localhost")
        offline = dict(env, HF_HUB_OFFLINE="1")

        # what we fetched, the client finds without a network
        done = vicha(env, "model", "pull", "org/ours", "--include", "*")
        check("pull", done.returncode == 0, done.stderr)
        found = client(offline, "org/ours")
        if found:
            check("folder", found["folder"] == done.stdout.strip(), f"{found['folder']} and {done.stdout}")
            check("warnings", found["warnings"] == [], found["warnings"])
            check("files", found["files"] == ["config.json", "model.safetensors", "vocab.txt", "x.json"],
                  found["files"])
            check("refs", found["refs"] == ["main"], found["refs"])
            with open(found["file"], "rb") as f:
                check("bytes", f.read() == b"ours" * 300000)

        # what the client fetched, we find without asking for a file again
        found = client(env, "org/theirs")
        if found:
            before = open(os.path.join(tmp, "log")).read().count("\n")
            done = vicha(env, "model", "pull", "--json", "org/theirs", "--include", "*")
            check("pull of theirs", done.returncode == 0, done.stderr)
            if done.returncode == 0:
                result = json.loads(done.stdout)
                check("nothing fetched", result["fetched"] == 0 and result["bytes"] == 0, done.stdout)
                check("same folder", result["dir"] == found["folder"], done.stdout)
            check("one request", open(os.path.join(tmp, "log")).read().count("\n") == before + 1)
            done = vicha(offline, "model", "pull", "org/theirs")
            check("offline", done.returncode == 0 and done.stdout.strip() == found["folder"], done.stdout + done.stderr)
            found = client(offline, "org/theirs")
            check("both models", bool(found) and found["repos"] == ["org/ours", "org/theirs"], found)

        # a transfer the client was killed in: we go on where it ended
        import glob
        import shutil
        repository = os.path.join(tmp, "home", "hub", "models--org--theirs")
        shutil.rmtree(os.path.join(repository, "snapshots"))
        blob = max(glob.glob(os.path.join(repository, "blobs", "*")), key=os.path.getsize)
        with open(blob, "rb") as f, open(blob + ".incomplete", "wb") as g:
            g.write(f.read(100000))
        os.remove(blob)
        done = vicha(env, "model", "pull", "--json", "org/theirs")
        check("resume", done.returncode == 0 and json.loads(done.stdout)["resumed"] == 100000, done.stdout + done.stderr)
        server.stdin.close()
        server.wait()
    print(f"huggingface_hub {huggingface_hub.__version__}: {failures} wrong")
    return failures != 0


if __name__ == "__main__":
    sys.exit(main())
