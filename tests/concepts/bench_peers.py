#!/usr/bin/env python3
"""vicha's CLIP encoders beside their peers on this machine: the same sizes, inputs and threads, taken in turns.

    bench_peers.py VICHA [--arch ViT-B/16] [--batch 16] [--threads 2] [--rounds 3] [--text] [--tokens 8]
                         [--keep DIR [--prepare]]

Needs torch, and measures onnxruntime (with onnx) and openvino (int8: with nncf) where they are installed. Prints one
JSON object a program and precision: median, lowest and highest of the rounds in images (texts) a second. The weights
are random; time does not depend on them.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import torch.nn as nn

SIZES = {"ViT-B/32": (224, 32, 768, 12, 12, 512), "ViT-B/16": (224, 16, 768, 12, 12, 512)}


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.heads = heads

    def forward(self, x, causal):
        b, t, w = x.shape
        q, k, v = self.qkv(self.ln1(x)).reshape(b, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        a = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        x = x + self.out(a.transpose(1, 2).reshape(b, t, w))
        h = self.fc1(self.ln2(x))
        return x + self.fc2(h * torch.sigmoid(1.702 * h))


class Image(nn.Module):
    def __init__(self, size, patch, width, layers, heads, dim):
        super().__init__()
        self.patch = nn.Conv2d(3, width, patch, patch, bias=False)
        self.cls = nn.Parameter(torch.randn(width) * 0.3)
        self.pos = nn.Parameter(torch.randn((size // patch) ** 2 + 1, width) * 0.2)
        self.pre, self.post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.proj = nn.Linear(width, dim, bias=False)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], 1, -1), x], 1) + self.pos
        x = self.pre(x)
        for b in self.blocks:
            x = b(x, False)
        return self.proj(self.post(x[:, 0]))


class Text(nn.Module):
    def __init__(self, width=512, layers=12, heads=8, dim=512, vocabulary=49408):
        super().__init__()
        self.tok = nn.Embedding(vocabulary, width)
        self.pos = nn.Parameter(torch.randn(77, width) * 0.2)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.post = nn.LayerNorm(width)
        self.proj = nn.Linear(width, dim, bias=False)

    def forward(self, ids):
        x = self.tok(ids) + self.pos[: ids.shape[1]]
        for b in self.blocks:
            x = b(x, True)
        return self.proj(self.post(x[:, -1]))


def timed(run, seconds):
    run()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 2:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def torch_peers(model, x, batch):
    half = type(model)(*model.args).eval()
    half.load_state_dict(model.state_dict())
    half = half.to(torch.bfloat16)
    y = x.to(torch.bfloat16) if x.is_floating_point() else x
    def call(m, v):
        with torch.inference_mode():
            m(v)
    yield "torch", "fp32", lambda: call(model, x)
    yield "torch", "bf16", lambda: call(half, y)


def onnx_path(model, x, folder):
    path = os.path.join(folder, "m.onnx")
    if os.path.exists(path):
        return path
    torch.onnx.export(model, (x,), path, opset_version=17, input_names=["x"], output_names=["y"], dynamo=False)
    return path


def ort_peers(path, x, threads, folder):
    import onnxruntime as ort
    from onnxruntime.quantization import QuantType, quantize_dynamic
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    quantised = os.path.join(folder, "q.onnx")
    if not os.path.exists(quantised):
        quantize_dynamic(path, quantised, weight_type=QuantType.QInt8, per_channel=True)
    for p, name in ((path, "fp32"), (quantised, "int8")):
        session = ort.InferenceSession(p, options, providers=["CPUExecutionProvider"])
        yield "onnxruntime", name, lambda s=session: s.run(None, {"x": x.numpy()})


def openvino_peers(path, x, threads, folder):
    import openvino as ov
    core = ov.Core()
    model = core.read_model(path)
    def compiled(m, precision):
        c = core.compile_model(m, "CPU", {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads,
                                          "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1})
        r = c.create_infer_request()
        return lambda: r.infer({0: x.numpy()})
    yield "openvino", "fp32", compiled(model, "f32")
    yield "openvino", "bf16", compiled(model, "bf16")
    quantised = os.path.join(folder, "q.xml")
    if os.path.exists(quantised):
        yield "openvino", "int8", compiled(core.read_model(quantised), "bf16")
        return
    try:
        import nncf
        data = nncf.Dataset([torch.randn(x.shape).numpy() if x.is_floating_point() else x.numpy() for _ in range(4)])
        q = nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=4)
        ov.save_model(q, quantised, compress_to_fp16=False)
        yield "openvino", "int8", compiled(q, "bf16")
    except ImportError:
        pass


def vicha(o, precision, seconds):
    command = [o.vicha, "bench", "text" if o.text else "clip", "--precision", precision, "--threads", str(o.threads),
               "--batch", str(o.batch), "--seconds", str(seconds), "--arch", o.arch]
    if o.text:
        command += ["--tokens", str(o.tokens)]
    row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return row["texts_per_s" if o.text else "images_per_s"], row["peak_share"]


def kept_name(o):
    return f"{'text' if o.text else o.arch.replace('/', '')}-{o.batch}" + (f"-{o.tokens}" if o.text else "")


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("vicha")
    a.add_argument("--arch", default="ViT-B/16", choices=sorted(SIZES))
    a.add_argument("--batch", type=int, default=16)
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--seconds", type=float, default=2)
    a.add_argument("--text", action="store_true")
    a.add_argument("--tokens", type=int, default=8)
    a.add_argument("--keep", help="folder of the peers' converted models: made once, found there afterwards")
    a.add_argument("--prepare", action="store_true", help="make them and measure nothing")
    o = a.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(1)
    args = () if o.text else SIZES[o.arch]
    model = (Text if o.text else Image)(*args).eval()
    model.args = args
    x = torch.randint(0, 49000, (o.batch, o.tokens)) if o.text else torch.randn(o.batch, 3, 224, 224)
    with tempfile.TemporaryDirectory() as temporary:
        folder = temporary if o.keep is None else os.path.join(o.keep, kept_name(o))
        os.makedirs(folder, exist_ok=True)
        peers = list(torch_peers(model, x, o.batch))
        for name, make in (("onnxruntime", lambda p: ort_peers(p, x, o.threads, folder)),
                           ("openvino", lambda p: openvino_peers(p, x, o.threads, folder))):
            try:
                with torch.inference_mode():
                    peers += list(make(onnx_path(model, x, folder)))
            except Exception as e:  # a peer that is not there or does not take the model
                print(f"{name}: {type(e).__name__}: {str(e)[:200]}", file=sys.stderr)
        rates, shares = {}, {}
        if o.prepare:
            return
        for _ in range(o.rounds):
            for precision in ("fp32", "bf16", "int8"):
                rate, share = vicha(o, precision, o.seconds)
                rates.setdefault(("vicha", precision), []).append(rate)
                shares[precision] = share
            for program, precision, run in peers:
                rates.setdefault((program, precision), []).append(o.batch / timed(run, o.seconds))
    for (program, precision), r in rates.items():
        row = {"bench": "peers", "model": ("text " if o.text else "") + o.arch, "program": program,
               "precision": precision, "threads": o.threads, "batch": o.batch, "per_s": round(statistics.median(r), 2),
               "lowest": round(min(r), 2), "highest": round(max(r), 2)}
        if program == "vicha":
            row["peak_share"] = shares[precision]
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
