#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes corpus/torch_zip: small PyTorch archives, without PyTorch. Run once; the files are in the repository."""
import collections
import io
import os
import pickle
import struct
import sys
import types
import zipfile

torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
sys.modules["torch"], sys.modules["torch._utils"] = torch, utils


def named(module, name):
    """A class or function that pickles as module.name."""
    made = type(name, (), {"__module__": module.__name__, "__qualname__": name})
    setattr(module, name, made)
    return made


STORAGES = {n: named(torch, n) for n in ("FloatStorage", "HalfStorage", "LongStorage", "BoolStorage")}
REBUILD, PARAMETER = named(utils, "_rebuild_tensor_v2"), named(utils, "_rebuild_parameter")


class Storage:
    def __init__(self, kind, key, data, size):
        self.kind, self.key, self.data, self.count = kind, key, data, len(data) // size


class Call:
    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            return "storage", STORAGES[obj.kind], obj.key, "cpu", obj.count
        return None



def dump(value, protocol):
    # REBUILD and PARAMETER are classes here; save_reduce only asks that they can be called.
    out = io.BytesIO()
    Pickler(out, protocol).dump(value)
    return out.getvalue()


def tensor(storage, offset, size, stride):
    return Call(REBUILD, storage, offset, size, stride, False, collections.OrderedDict())


def write(name, value, storages, protocol=2, pickled=None):
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "torch_zip")
    os.makedirs(folder, exist_ok=True)
    with zipfile.ZipFile(os.path.join(folder, name), "w", zipfile.ZIP_STORED) as z:
        entries = [("w/data.pkl", pickled or dump(value, protocol)), ("w/byteorder", b"little")]
        entries += [(f"w/data/{s.key}", s.data) for s in storages] + [("w/version", b"3\n")]
        for entry, data in entries:
            z.writestr(zipfile.ZipInfo(entry, (1980, 1, 1, 0, 0, 0)), data)


f = Storage("FloatStorage", "0", struct.pack("<6f", *range(6)), 4)
h = Storage("HalfStorage", "1", struct.pack("<4e", *range(4)), 2)
n = Storage("LongStorage", "2", struct.pack("<3q", 1, -2, 3), 8)
b = Storage("BoolStorage", "3", b"\1\0\1", 1)
plain = {"a.weight": tensor(f, 0, (2, 3), (3, 1)), "half": tensor(h, 1, (3,), (1,)), "ids": tensor(n, 0, (3,), (1,)),
         "flags": tensor(b, 0, (3,), (1,)), "scalar": tensor(f, 5, (), ())}
write("plain", plain, [f, h, n, b])
write("protocol_5", plain, [f, h, n, b], 5)
write("strided", {"t": tensor(f, 0, (3, 2), (1, 3)), "e": tensor(f, 1, (4,), (0,)), "z": tensor(f, 6, (0, 2), (2, 1))},
      [f])
write("nested", {"epoch": 3, "lr": 0.5, "big": 1 << 40, "model": collections.OrderedDict(
    [("module.a", Call(PARAMETER, tensor(f, 0, (6,), (1,)), True, collections.OrderedDict())),
     ("module.b", {"c": [tensor(h, 0, (2, 2), (2, 1)), None, True, "x"]})])}, [f, h])
write("hostile", None, [f], pickled=b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.")
write("itself", None, [f], pickled=b"\x80\x02]q\x00h\x00a.")
write("bomb", None, [f], pickled=b"\x80\x02(]q\x00" + b"".join(
    b"](" + bytes([ord("h"), i]) * 4 + b"eq" + bytes([i + 1]) for i in range(14)) + b"t.")
