# SPDX-License-Identifier: MIT
"""ViCHA's pretraining step in PyTorch: the peer that `vicha bench train` is compared with.

    python3 tests/peers/train_step.py --vicha build/cli/vicha --recipe vicha-small --rounds 3

Needs `torch` from PyPI. Written as the original's step does it (images' keys and values for every run of the fusion
layers, the MLM head on every position) but with scaled_dot_product_attention, the fused AdamW and no Python between
layers that PyTorch does not need. Both programs take the same made-up batch: captions and concepts of full length.
They run in turns, so that a slow minute of the machine meets both; the table has the medians.
"""
import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


def attend(q, k, v, heads, mask=None, dropout=0.0):
    def split(x):
        return x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)

    y = F.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=mask, dropout_p=dropout)
    return y.transpose(1, 2).flatten(2)


class VitBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        x = x + self.proj(attend(*self.qkv(self.norm1(x)).chunk(3, -1), self.heads))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Vit(nn.Module):
    def __init__(self, size, patch, width, layers, heads):
        super().__init__()
        self.patch = patch
        self.embed = nn.Conv2d(3, width, patch, patch)
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pos = nn.Parameter(torch.randn(1, 1 + (size // patch) ** 2, width) * 0.02)
        self.blocks = nn.ModuleList(VitBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def patches(self, image):
        return self.embed(image).flatten(2).transpose(1, 2)

    def forward(self, image, concepts=None):
        x = self.patches(image)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        x = x if concepts is None else torch.cat([x, concepts], 1)
        states = []
        for block in self.blocks:
            x = block(x)
            states.append(x)
        return self.norm(x), states

    def visible(self, image, ratio):
        x = self.patches(image) + self.pos[:, 1:]
        order = torch.rand(x.shape[:2]).argsort(1)
        keep = int(x.shape[1] * (1 - ratio))
        x = x.gather(1, order[:, :keep, None].expand(-1, -1, x.shape[2]))
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x), order, keep


class BertLayer(nn.Module):
    def __init__(self, width, heads, cross, image_width):
        super().__init__()
        self.heads, self.cross = heads, cross
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        if cross:
            self.cq, self.co = nn.Linear(width, width), nn.Linear(width, width)
            self.ck, self.cv = nn.Linear(image_width, width), nn.Linear(image_width, width)
            self.norm3 = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x, mask, image):
        a = attend(self.query(x), self.key(x), self.value(x), self.heads, mask, 0.1)
        x = self.norm1(x + F.dropout(self.out(a), 0.1))
        if self.cross:
            a = attend(self.cq(x), self.ck(image), self.cv(image), self.heads, None, 0.1)
            x = self.norm3(x + F.dropout(self.co(a), 0.1))
        return self.norm2(x + F.dropout(self.fc2(F.gelu(self.fc1(x))), 0.1))


class Bert(nn.Module):
    def __init__(self, vocabulary, width, layers, heads, fusion, image_width):
        super().__init__()
        self.fusion = fusion
        self.words, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(512, width)
        self.types, self.norm = nn.Embedding(2, width), nn.LayerNorm(width, eps=1e-12)
        for table in (self.words, self.positions, self.types):
            nn.init.normal_(table.weight, std=0.02)
        self.layers = nn.ModuleList(BertLayer(width, heads, i >= fusion, image_width) for i in range(layers))

    def text(self, ids, mask):
        x = self.words(ids) + self.positions(torch.arange(ids.shape[1])) + self.types.weight[0]
        x = F.dropout(self.norm(x), 0.1)
        states = [x]
        for layer in self.layers[: self.fusion]:
            x = layer(x, mask, None)
            states.append(x)
        return x, states

    def fuse(self, x, mask, image):
        for layer in self.layers[self.fusion :]:
            x = layer(x, mask, image)
        return x


class Encoders(nn.Module):
    """What has a momentum teacher."""

    def __init__(self, r, vocabulary):
        super().__init__()
        v, t, proj = r["vision"], r["text"], r["proj"]
        self.vision = Vit(r["size"], v["patch"], v["width"], v["layers"], v["heads"])
        self.text = Bert(vocabulary, t["width"], t["layers"], t["heads"], t["fusion_layer"], v["width"])
        self.dense, self.head_norm = nn.Linear(t["width"], t["width"]), nn.LayerNorm(t["width"], eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.concepts = Bert(vocabulary, t["width"], r["concept_layers"], t["heads"], r["concept_layers"], 0)
        self.concept_proj = nn.Linear(t["width"], v["width"])
        self.vision_proj, self.text_proj = nn.Linear(v["width"], proj), nn.Linear(t["width"], proj)

    def encode(self, b):
        concepts = self.concept_proj(self.concepts.text(b["concepts"], b["concept_mask"])[0])
        image, image_states = self.vision(b["images"], concepts)
        text, text_states = self.text.text(b["ids"], b["mask"])
        v = F.normalize(self.vision_proj(image[:, 0]), dim=1)
        t = F.normalize(self.text_proj(text[:, 0]), dim=1)
        return image, image_states, text, text_states, v, t

    def words(self, ids, mask, image):
        x = self.text.fuse(self.text.text(ids, mask)[0], mask, image)
        return F.linear(self.head_norm(F.gelu(self.dense(x))), self.text.words.weight, self.bias)


class Vicha(nn.Module):
    def __init__(self, r, vocabulary=30522):
        super().__init__()
        self.r, width, text = r, r["vision"]["width"], r["text"]["width"]
        self.student, self.teacher = Encoders(r, vocabulary), Encoders(r, vocabulary)
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        self.itm = nn.Linear(text, 2)
        self.temp = nn.Parameter(torch.tensor(0.07))
        self.vision_hidden = nn.ModuleList(nn.Linear(width, r["proj"]) for _ in range(r["hitc"]))
        self.text_hidden = nn.ModuleList(nn.Linear(text, r["proj"]) for _ in range(r["hitc"]))
        d = r["decoder"]
        self.decoder_embed, self.mae = nn.Linear(width, d["width"]), nn.Linear(d["width"], 3 * r["vision"]["patch"] ** 2)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, d["width"]))
        self.decoder = nn.ModuleList(VitBlock(d["width"], d["heads"]) for _ in range(d["layers"]))
        self.decoder_norm = nn.LayerNorm(d["width"])
        self.register_buffer("decoder_pos", torch.randn(1, 1 + (r["size"] // r["vision"]["patch"]) ** 2, d["width"]) * 0.02)
        for name in ("images", "texts"):
            self.register_buffer(name, F.normalize(torch.randn(r["proj"], r["queue"]), dim=0))
        self.at = 0

    @torch.no_grad()
    def follow(self):
        torch._foreach_lerp_(list(self.teacher.parameters()), list(self.student.parameters()), 0.005)

    def hidden_loss(self, states_v, states_t, temp):
        total = 0
        for i, (pv, pt) in enumerate(zip(self.vision_hidden, self.text_hidden)):
            v = F.normalize(pv(self.student.vision.norm(states_v[i - self.r["hitc"] - 1])[:, 0]), dim=1)
            t = F.normalize(pt(states_t[i - self.r["hitc"] - 1][:, 0]), dim=1)
            target = torch.arange(len(v))
            total = total + (F.cross_entropy(v @ t.detach().T / temp, target) + F.cross_entropy(t @ v.detach().T / temp, target)) / 2
        return total

    def matching_loss(self, text, mask, image, to_text, to_image):
        rows = len(text)
        with torch.no_grad():
            wt, wi = to_text[:, :rows].softmax(1), to_image[:, :rows].softmax(1)
            wt.fill_diagonal_(0), wi.fill_diagonal_(0)
            image_of, text_of = torch.multinomial(wi, 1)[:, 0], torch.multinomial(wt, 1)[:, 0]
        right = self.student.text.fuse(text, mask, image)[:, 0]
        wrong = self.student.text.fuse(
            torch.cat([text, text[text_of]]), torch.cat([mask, mask[text_of]]), torch.cat([image[image_of], image])
        )[:, 0]
        labels = torch.cat([torch.ones(rows, dtype=torch.long), torch.zeros(2 * rows, dtype=torch.long)])
        return F.cross_entropy(self.itm(torch.cat([right, wrong])), labels)

    def words_loss(self, b, image, image_m, alpha):
        chosen = torch.rand(b["ids"].shape) < 0.15
        chosen[:, 0] = False
        chosen[0, 1] = True
        ids = b["ids"].masked_fill(chosen, 103)
        with torch.no_grad():
            soft = self.teacher.words(ids, b["mask"], image_m).softmax(-1)
        logits = self.student.words(ids, b["mask"], image)
        labels = b["ids"].masked_fill(~chosen, -100)
        hard = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
        kept = -(soft * logits.log_softmax(-1)).sum(-1)
        return (1 - alpha) * hard + alpha * kept[chosen].mean()

    def pixels_loss(self, images):
        p = self.r["vision"]["patch"]
        x, order, keep = self.student.vision.visible(images, 0.75)
        x = self.decoder_embed(x)
        rows, rest = len(x), order.shape[1] - keep
        body = torch.cat([x[:, 1:], self.mask_token.expand(rows, rest, -1)], 1)
        body = body.gather(1, order.argsort(1)[:, :, None].expand(-1, -1, body.shape[2]))
        x = torch.cat([x[:, :1], body], 1) + self.decoder_pos
        for block in self.decoder:
            x = block(x)
        y = self.mae(self.decoder_norm(x))[:, 1:]
        grid = images.shape[2] // p
        target = images.view(rows, 3, grid, p, grid, p).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
        hidden = torch.ones(rows, order.shape[1]).scatter_(1, order[:, :keep], 0)
        return (((y - target) ** 2).mean(-1) * hidden).sum() / hidden.sum()

    def forward(self, b, alpha=0.4):
        with torch.no_grad():
            self.temp.clamp_(0.001, 0.5)
        image, states_v, text, states_t, v, t = self.student.encode(b)
        self.follow()
        with torch.no_grad():
            image_m, _, _, _, vm, tm = self.teacher.encode(b)
            keys_t, keys_i = torch.cat([tm.T, self.texts], 1), torch.cat([vm.T, self.images], 1)
            one = torch.zeros(len(v), keys_t.shape[1]).fill_diagonal_(1)
            soft_t = alpha * (vm @ keys_t / self.temp).softmax(1) + (1 - alpha) * one
            soft_i = alpha * (tm @ keys_i / self.temp).softmax(1) + (1 - alpha) * one
        to_text, to_image = v @ keys_t / self.temp, t @ keys_i / self.temp
        itc = -((to_text.log_softmax(1) * soft_t).sum(1) + (to_image.log_softmax(1) * soft_i).sum(1)).mean() / 2
        with torch.no_grad():
            end = self.at + len(v)
            self.images[:, self.at : end], self.texts[:, self.at : end] = vm.T, tm.T
            self.at = end % self.images.shape[1]
        loss = itc + 0.1 * self.hidden_loss(states_v, states_t, self.temp)
        loss = loss + self.matching_loss(text, b["mask"], image, to_text, to_image)
        return loss + self.words_loss(b, image, image_m, alpha) + self.pixels_loss(b["images"])


def sizes(path, batch):
    with open(path) as f:
        recipe = json.load(f)
    m = recipe["model"]
    layers = m["text"]["fusion_layer"]
    return {
        "size": recipe["image"]["size"], "vision": m["vision"], "text": m["text"], "proj": m["proj"],
        "decoder": m.get("decoder", {"width": m["vision"]["width"], "layers": 2, "heads": 16}),
        "concept_layers": m["concept_layers"], "queue": m["queue"], "hitc": layers - 1,
        "batch": batch or recipe["train"]["batch"],
    }


def peer(args):
    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    r = sizes(args.file, args.batch)
    model = Vicha(r)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), 1e-5, weight_decay=0.02, fused=True)
    rows, words, concepts = r["batch"], r["text"]["context"], 10
    b = {
        "images": torch.randn(rows, 3, r["size"], r["size"]), "ids": torch.randint(1000, 30000, (rows, words)),
        "concepts": torch.randint(1000, 30000, (rows, concepts)),
        "mask": torch.zeros(rows, 1, 1, words), "concept_mask": torch.zeros(rows, 1, 1, concepts),
    }
    seconds = []
    for _ in range(args.steps + 1):
        start = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bf16"):
            loss = model(b)
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"step_seconds": statistics.median(seconds[1:]), "peak_rss_mib": peak, "loss": float(loss.detach())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--vicha", default="build/cli/vicha")
    parser.add_argument("--recipe", default="vicha-small", help="a recipe that is built in")
    parser.add_argument("--batch", type=int, default=0, help="in place of the recipe's own")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.file:
        print(json.dumps(peer(args)))
        return
    recipe = f"train/recipes/{args.recipe}.json"
    common = ["--steps", str(args.steps), "--threads", str(args.threads), "--precision", args.precision]
    ours = [args.vicha, "bench", "train", "--recipe", args.recipe, *common]
    ours += ["--set", f"train.batch={args.batch}"] if args.batch else []
    theirs = [sys.executable, __file__, "--file", recipe, *common, "--batch", str(args.batch)]
    rows = {"vicha": [], f"torch {torch.__version__}": []}
    for _ in range(args.rounds):
        for name, command in zip(rows, (ours, theirs)):
            rows[name].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    for name, found in rows.items():
        times = [row["step_seconds"] for row in found]
        memory = max(row["peak_rss_mib"] for row in found)
        print(f"{name:16} {args.precision}  step {statistics.median(times):.3f} s ({min(times):.3f} to {max(times):.3f})  peak {memory:.0f} MiB")


if __name__ == "__main__":
    main()
