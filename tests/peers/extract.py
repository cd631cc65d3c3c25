#!/usr/bin/env python3
"""vicha extract beside img2dataset on this machine: the same pictures, server, size and quality, taken in turns.

    extract.py make PHOTOS                    pictures to serve, crops of PHOTOS, encoded anew to about 100 KB
    extract.py near [--rounds 2]              from nginx on loopback (without it: from http_server)
    extract.py far [--rounds 2]               from http_server, which answers after 200 to 300 ms
    extract.py table                          medians of all rounds so far, from WORK/results.jsonl

Needs Pillow, and img2dataset in the environment of PEER. A round is vicha with its defaults (but for --allow-private and
what is stored: short side 256, quality 95), then img2dataset with each of its thread counts: two processes, SHA-256 and
EXIF on as it comes, WebDataset shards; its best median counts. Rounds are short so that they can be taken one by one on
a machine that is shared. CPU is the command's with its children, the server's stands apart; memory is the greatest sum
of proportional set sizes over the command's processes, looked at every quarter of a second.
"""
import argparse
import glob
import io
import json
import multiprocessing
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time

THREADS = {"near": (16, 64), "far": (128, 256)}  # of img2dataset, for each of its two processes


def make_one(task):
    from PIL import Image
    source, path, seed, target = task
    rng = random.Random(seed)
    with Image.open(source) as photo:
        photo = photo.convert("RGB")
    scale = rng.uniform(0.85, 1)
    w, h = int(photo.width * scale), int(photo.height * scale)
    x, y = rng.randint(0, photo.width - w), rng.randint(0, photo.height - h)
    photo = photo.crop((x, y, x + w, y + h))
    if rng.random() < 0.5:
        photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    low, high = 60, 97  # quality that comes nearest to the target without going over it
    data = b""
    while low <= high:
        quality = (low + high) // 2
        out = io.BytesIO()
        photo.save(out, "JPEG", quality=quality, subsampling="4:2:0")
        if out.tell() <= target:
            data, low = out.getvalue(), quality + 1
        else:
            high = quality - 1
    with open(path, "wb") as f:
        f.write(data or out.getvalue())
    return len(data or out.getvalue())


def make(o):
    photos = sorted(glob.glob(os.path.join(o.photos, "*.jpg")))
    if not photos:
        sys.exit(f"no *.jpg in '{o.photos}'")
    folder = os.path.join(o.work, "files")
    os.makedirs(folder, exist_ok=True)
    rng = random.Random(1)
    tasks = [(photos[i % len(photos)], os.path.join(folder, f"{i:06d}.jpg"), i, rng.uniform(85e3, 135e3))
             for i in range(o.images)]
    with multiprocessing.Pool(o.processes) as pool:
        sizes = pool.map(make_one, tasks, 50)
    print(f"{len(sizes)} pictures, mean {statistics.mean(sizes) / 1000:.1f} KB, {min(sizes)} to {max(sizes)} bytes")


# --- servers

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """nginx where it is there and no delay is wanted, else the tests' own server."""

    def __init__(self, o):
        files = os.path.join(o.work, "files")
        nginx = shutil.which("nginx") if o.what == "near" else None
        self.name = "nginx" if nginx else "http_server"
        if nginx:
            port, folder = free_port(), os.path.join(o.work, "nginx")
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, "conf"), "w") as f:
                f.write(f"daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;\n"
                        "events { worker_connections 4096; }\n"
                        f"http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;\n"
                        + "".join(f"{kind}_temp_path {folder}/{kind};\n"
                                  for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
                        + "types { image/jpeg jpg; text/plain txt; }\n"
                        f"server {{ listen 127.0.0.1:{port} backlog=4096; root {files}; }} }}\n")
            self.run = subprocess.Popen([nginx, "-e", "stderr", "-p", folder, "-c", os.path.join(folder, "conf")],
                                        stderr=subprocess.DEVNULL)
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    if self.run.poll() is not None:
                        sys.exit("nginx does not start")
                    time.sleep(0.05)
        else:
            self.run = subprocess.Popen([o.server, files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            port = int(self.run.stdout.readline())
        self.base = f"http://127.0.0.1:{port}/" + ("far/" if o.what == "far" else "")

    def cpu(self):
        return sum(cpu_seconds(pid) for pid in tree(self.run.pid))

    def stop(self):
        self.run.terminate()
        self.run.wait()


# --- what a command costs

def tree(root):
    """The process and all of its descendants that live now."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as f:
                    parents[int(name)] = int(f.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                pass
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def cpu_seconds(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0


def pss(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("Pss:")) / 1024
    except (OSError, StopIteration):
        return 0


def measured(command, server, accept):
    before = server.cpu()
    start = time.perf_counter()
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           env={k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")})
    peak, ended = [0.0], threading.Event()

    def watch():
        while not ended.wait(0.25):
            peak[0] = max(peak[0], sum(pss(pid) for pid in tree(run.pid)))

    texts = {}
    readers = [threading.Thread(target=lambda n=n, f=f: texts.__setitem__(n, f.read()))
               for n, f in (("out", run.stdout), ("err", run.stderr))]
    watcher = threading.Thread(target=watch)
    for t in readers + [watcher]:
        t.start()
    _, status, usage = os.wait4(run.pid, 0)
    seconds = time.perf_counter() - start
    run.returncode = os.waitstatus_to_exitcode(status)
    ended.set()
    for t in readers + [watcher]:
        t.join()
    if run.returncode not in accept:
        sys.exit(f"{command[0]} ended with {run.returncode}:\n{texts['err'][-2000:]}")
    return {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "peak_mib": peak[0],
            "server_cpu": server.cpu() - before}, texts["out"]


def vicha(o, server):
    folder = os.path.join(o.work, "vicha")
    shutil.rmtree(folder, ignore_errors=True)
    row, out = measured([o.vicha, "extract", "--json", "-w", folder, os.path.join(o.work, "list.tsv"), "--allow-private",
                         "--size", "256", "--quality", "95"], server, (0,))
    report = json.loads(out)
    row |= {"program": "vicha", "stored": report["stored"], "work_seconds": report["seconds"]}
    row["peak_mib"] = max(row["peak_mib"], report["peak_rss_mib"])
    return row


def peer(o, server, threads):
    folder = os.path.join(o.work, "img2dataset")
    shutil.rmtree(folder, ignore_errors=True)
    row, _ = measured([os.path.join(o.peer, "bin", "img2dataset"), "--url_list", os.path.join(o.work, "list.tsv"),
                       "--input_format", "tsv", "--url_col", "url", "--caption_col", "caption",
                       "--output_folder", folder, "--output_format", "webdataset", "--processes_count", "2",
                       "--thread_count", str(threads), "--image_size", "256", "--resize_mode", "keep_ratio",
                       "--resize_only_if_bigger", "True", "--encode_quality", "95",
                       "--number_sample_per_shard", str(max(1, o.images // 8))], server, (0,))
    stored, starts, ends = 0, [], []
    for path in glob.glob(os.path.join(folder, "*_stats.json")):
        with open(path) as f:
            s = json.load(f)
        stored += s["successes"]
        starts.append(s["start_time"])
        ends.append(s["end_time"])
    row |= {"program": f"img2dataset 2 x {threads}", "stored": stored, "work_seconds": max(ends) - min(starts)}
    return row


def rounds(o):
    files = sorted(glob.glob(os.path.join(o.work, "files", "*.jpg")))[:o.images]
    if len(files) < o.images:
        sys.exit(f"'{o.work}/files' has {len(files)} pictures, not {o.images}: 'extract.py make' makes them")
    for path in files:  # into the page cache
        with open(path, "rb") as f:
            f.read()
    server = Server(o)
    try:
        with open(os.path.join(o.work, "list.tsv"), "w") as f:
            f.write("url\tcaption\n")
            f.writelines(f"{server.base}{os.path.basename(path)}\tpicture {i}\n" for i, path in enumerate(files))
        for _ in range(o.rounds):
            for run in [lambda: vicha(o, server)] + [lambda t=t: peer(o, server, t) for t in o.threads or THREADS[o.what]]:
                row = run() | {"what": o.what, "images": o.images, "server": server.name}
                if row["stored"] != o.images:
                    print(f"# {row['program']} stored {row['stored']} of {o.images}")
                with open(os.path.join(o.work, "results.jsonl"), "a") as f:
                    f.write(json.dumps(row) + "\n")
                print(f"{row['what']} {row['program']:22} {row['images'] / row['seconds']:7.1f} images/s "
                      f"{row['cpu'] * 1000 / row['images']:6.2f} CPU ms  {row['peak_mib']:6.0f} MiB", flush=True)
    finally:
        server.stop()


def table(o):
    with open(os.path.join(o.work, "results.jsonl")) as f:
        rows = [json.loads(line) for line in f]
    print("| server | program | rounds | images/s | without start-up | CPU ms an image | server's | peak MiB |")
    print("|---|---|---|---|---|---|---|---|")
    ratios = []
    for what in ("near", "far"):
        best = {}
        for program in sorted({r["program"] for r in rows if r["what"] == what}, reverse=True):
            mine = [r for r in rows if r["what"] == what and r["program"] == program]
            middle = {k: statistics.median(f(r) for r in mine) for k, f in {
                "rate": lambda r: r["stored"] / r["seconds"], "work": lambda r: r["stored"] / r["work_seconds"],
                "cpu": lambda r: r["cpu"] * 1000 / r["images"], "server": lambda r: r["server_cpu"] * 1000 / r["images"],
                "peak": lambda r: r["peak_mib"]}.items()}
            name = program.split()[0]
            best[name] = max([best.get(name, {"rate": 0}), middle], key=lambda m: m["rate"])
            print(f"| {what} | {program} | {len(mine)} | {middle['rate']:.0f} | {middle['work']:.0f} | {middle['cpu']:.2f} "
                  f"| {middle['server']:.2f} | {middle['peak']:.0f} |")
        if len(best) == 2:
            ratios.append(f"{what}: vicha {best['vicha']['rate'] / best['img2dataset']['rate']:.2f} times img2dataset's best, "
                  f"{best['vicha']['work'] / best['img2dataset']['work']:.2f} without start-up")
    print("\n" + "\n".join(ratios))


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("what", choices=["make", "near", "far", "table"])
    a.add_argument("photos", nargs="?", help="of make: a folder of photographs")
    a.add_argument("--work", default="/tmp/vicha-bench-extract", help="a folder for pictures, results and outputs")
    a.add_argument("--images", type=int, default=8000)
    a.add_argument("--rounds", type=int, default=1)
    a.add_argument("--threads", type=int, nargs="*", help="of img2dataset, in place of those that were found best")
    a.add_argument("--processes", type=int, default=2, help="of make")
    a.add_argument("--vicha", default="build/cli/vicha")
    a.add_argument("--server", default="build/tests/extract/http_server")
    a.add_argument("--peer", default=sys.prefix, help="the virtual environment that img2dataset is in")
    o = a.parse_args()
    if o.what == "make" and not o.photos:
        a.error("make needs the folder of photographs")
    {"make": make, "near": rounds, "far": rounds, "table": table}[o.what](o)


if __name__ == "__main__":
    main()
