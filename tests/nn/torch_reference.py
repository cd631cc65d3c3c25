#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Files that torch.save itself writes, read by `vicha model convert` and compared bit by bit.

Optional: exits 77 where torch is not installed. VICHA_PYTHON may name a Python that has it.
"""
import collections
import json
import os
import struct
import subprocess
import sys
import tempfile
import warnings

other = os.environ.get("VICHA_PYTHON")
if other and os.path.realpath(other) != os.path.realpath(sys.executable) and "VICHA_PYTHON_USED" not in os.environ:
    os.environ["VICHA_PYTHON_USED"] = "1"
    os.execv(other, [other, *sys.argv])
try:
    import torch
except ImportError:
    print("SKIP: the Python package 'torch' is not installed (VICHA_PYTHON names a Python that has it)")
    sys.exit(77)

VICHA = os.environ["VICHA"]
failures = 0
checks = 0
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64, "I8": torch.int8,
          "I16": torch.int16, "I32": torch.int32, "I64": torch.int64, "U8": torch.uint8, "BOOL": torch.bool,
          "U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64}


def fail(text):
    global failures
    failures += 1
    print("not ok:", text)


def load(path):
    with open(path, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(size))
        data = f.read()
    header.pop("__metadata__", None)
    out = {}
    for name, t in header.items():
        begin, end = t["data_offsets"]
        raw = bytearray(data[begin:end])
        flat = torch.frombuffer(raw, dtype=DTYPES[t["dtype"]]) if raw else torch.empty(0, dtype=DTYPES[t["dtype"]])
        out[name] = flat.reshape(t["shape"])
    return out


def same(a, b):
    a = a.detach().contiguous()
    return (a.dtype == b.dtype and a.shape == b.shape and
            bytes(a.reshape(-1).view(torch.uint8).numpy() if a.numel() else b"") ==
            bytes(b.reshape(-1).view(torch.uint8).numpy() if b.numel() else b""))


def convert(path, out):
    return subprocess.run([VICHA, "model", "convert", path, out], capture_output=True, text=True)


def check(folder, what, saved, expected, **options):
    global checks
    checks += 1
    path, out = os.path.join(folder, "in.pth"), os.path.join(folder, "out.safetensors")
    torch.save(saved, path, **options)
    done = convert(path, out)
    if done.returncode != 0:
        return fail(f"{what}: {done.stderr.strip()}")
    got = load(out)
    if sorted(got) != sorted(expected):
        return fail(f"{what}: names {sorted(got)}, expected {sorted(expected)}")
    for name, t in expected.items():
        if not same(t, got[name]):
            fail(f"{what}: '{name}' is {got[name]}, expected {t}")


def refuse(folder, what, saved, words, **options):
    global checks
    checks += 1
    path = os.path.join(folder, "in.pth")
    torch.save(saved, path, **options)
    done = convert(path, os.path.join(folder, "refused.safetensors"))
    if done.returncode != 1 or words not in done.stderr:
        fail(f"{what}: status {done.returncode}, {done.stderr.strip()!r}; expected '{words}'")


class Stranger:
    def __reduce__(self):
        return os.system, ("touch " + os.path.join(tempfile.gettempdir(), "vicha-owned"),)


def main():
    torch.manual_seed(1)
    r = torch.randn
    with tempfile.TemporaryDirectory() as d:
        reals = {str(t): r(3, 5).to(t) for t in (torch.float32, torch.float16, torch.bfloat16, torch.float64)}
        check(d, "real types", reals, reals)
        whole = {str(t): torch.arange(-4, 4).to(t) for t in (torch.int8, torch.int16, torch.int32, torch.int64)}
        whole["u8"] = torch.arange(250, 256, dtype=torch.uint8)
        whole["bool"] = torch.tensor([True, False, True])
        check(d, "integers", whole, whole)
        wide = {str(t): torch.arange(5).to(t) for t in (torch.uint16, torch.uint32, torch.uint64)}
        check(d, "unsigned integers", wide, wide)
        for protocol in (2, 3, 4, 5):
            check(d, f"protocol {protocol}", reals, reals, pickle_protocol=protocol)

        base = r(6, 8)
        views = {"base": base, "rows": base[2:4], "columns": base[:, 1:5], "turned": base.t(), "steps": base[::2, ::3],
                 "permuted": r(2, 3, 4).permute(2, 0, 1), "expanded": r(1, 4).expand(3, 4), "one": base[3, 3],
                 "diagonal": torch.diagonal(base), "channels": r(2, 3, 4, 4).to(memory_format=torch.channels_last)}
        check(d, "views", views, views)
        check(d, "shapes", s := {"scalar": torch.tensor(0.07), "empty": torch.empty(0, 3), "ones": r(1, 1, 7),
                                 "eight": r(1, 2, 1, 2, 1, 2, 1, 2), "\u00e9 \"x\"": r(2)}, s)
        parameters = {"p": torch.nn.Parameter(r(4, 4)), "b": torch.nn.Parameter(r(4), requires_grad=False),
                      "half": torch.nn.Parameter(r(4).half())}
        check(d, "parameters", parameters, parameters)

        module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2))
        state = module.state_dict()
        check(d, "a state dict", state, state)
        check(d, "an OrderedDict", collections.OrderedDict(state), state)
        optimizer = torch.optim.AdamW(module.parameters())
        module(r(3, 4)).sum().backward()
        optimizer.step()
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
        full = {"model": state, "optimizer": optimizer.state_dict(), "epoch": 3, "loss": 0.5, "big": 1 << 40,
                "config": {"path": "x", "list": [1, 2.5, None, True], "tuple": (1, (2,))}, "note": "caf\u00e9"}
        check(d, "a checkpoint", full, state)
        for key in ("state_dict", "model_state_dict", "module"):
            check(d, f"'{key}'", {key: state, "epoch": 1}, state)
        check(d, "two levels", {"state_dict": {"model": state}, "x": 1}, state)
        wrapped = {"module." + k: v for k, v in state.items()}
        check(d, "DataParallel", {"model": wrapped}, state)
        check(d, "a dict of dicts", {"a": {"b": base, "c": [base[0], base[1]]}},
              {"a.b": base, "a.c.0": base[0], "a.c.1": base[1]})
        check(d, "a bare tensor", base, {"tensor": base})
        check(d, "a list", [base, state["0.bias"]], {"0": base, "1": state["0.bias"]})
        tied = {"a": base, "b": base}
        check(d, "tied", tied, tied)
        large = {"w": r(1200, 1300)}
        check(d, "six megabytes", large, large)

        refuse(d, "code", {"w": base, "x": Stranger()}, "system'")
        if os.path.exists(os.path.join(tempfile.gettempdir(), "vicha-owned")):
            fail("code was run")
        refuse(d, "a whole module", module, "refuses 'torch.nn.modules.container.Sequential'")
        refuse(d, "complex", {"w": r(2, dtype=torch.complex64)}, "refuses 'torch.ComplexFloatStorage'")
        refuse(d, "sparse", {"w": base.to_sparse()}, "refuses 'torch._utils._rebuild_sparse_tensor'")
        refuse(d, "bytes", {"w": base, "b": b"123"}, "refuses")
        refuse(d, "a namespace", {"w": base, "args": __import__("argparse").Namespace(a=1)},
               "refuses 'argparse.Namespace'")
        refuse(d, "the old form", state, "save it again", _use_new_zipfile_serialization=False)
        refuse(d, "no tensors", {"epoch": 1}, "holds no tensors")
        script = os.path.join(d, "script.pt")
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), r(1, 2)), script)
        done = convert(script, os.path.join(d, "x.safetensors"))
        if done.returncode != 1 or "TorchScript" not in done.stderr:
            fail(f"TorchScript: {done.stderr}")
    print(f"torch {torch.__version__}: {checks} files, {failures} wrong")
    return failures != 0


if __name__ == "__main__":
    sys.exit(main())
