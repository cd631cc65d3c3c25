// SPDX-License-Identifier: MIT
// Training runs: the list with curves side by side, and one run as it goes.
import { api, count, h, percent, problem } from "/api.js";
import { lines } from "/plot.js";

const PERIOD = 2000;

// Reads the lines of a run that are new since the last call.
class Metrics {
  constructor(run) { Object.assign(this, { run, next: 0, lines: [] }); }
  async read() {
    let answer, got = 0;
    do {
      answer = await api(`/api/metrics/${encodeURIComponent(this.run)}?from=${this.next}`);
      if (answer.restarted) this.lines = [];
      for (const line of answer.lines) this.lines.push(line);
      got += answer.lines.length;
      this.next = answer.next;
    } while (answer.more);
    return got;
  }
  curve(key) { return this.lines.filter((l) => typeof l[key] === "number").map((l) => [l.step, l[key]]); }
}

// At most a thousand points are drawn: the mean of each stretch.
function thin(points) {
  const each = Math.ceil(points.length / 1000);
  if (each < 2) return points;
  const out = [];
  for (let i = 0; i < points.length; i += each) {
    const part = points.slice(i, i + each);
    out.push([part[part.length - 1][0], part.reduce((a, p) => a + p[1], 0) / part.length]);
  }
  return out;
}

function smooth(points) {
  const keep = points.length > 400 ? 0.9 : points.length > 100 ? 0.75 : 0.5;
  let value = 0, weight = 0;
  return points.map(([x, y]) => {
    value = keep * value + (1 - keep) * y;
    weight = keep * weight + 1 - keep;
    return [x, value / weight];
  });
}

const ago = (seconds) => { const d = Math.max(0, Date.now() / 1000 - seconds); return d < 90 ? "just now" : d < 5400 ? `${Math.round(d / 60)} min ago` : d < 129600 ? `${Math.round(d / 3600)} h ago` : `${Math.round(d / 86400)} days ago`; };
const link = (name) => "#/run/" + encodeURIComponent(name);

export async function runsPage(r, main, alive) {
  const { runs } = await api("/api/runs");
  if (!alive()) return null;
  if (!runs.length) {
    main.replaceChildren(h("div", { class: "sheet" }, h("h1", {}, "Runs"), h("p", { class: "empty" }, "No run is in this workspace: ", h("code", {}, "vicha train RECIPE -w … --out …/runs/NAME"), " puts one here.")));
    return null;
  }
  const shown = new Set(runs.slice(0, 8).map((one) => one.run)), plot = h("div", {}, h("p", { class: "soft" }, "…")), recall = h("div", {});
  const box = (one, i) => h("input", { type: "checkbox", checked: shown.has(one.run), "aria-label": `Show ${one.run}`, onchange: (e) => { if (e.target.checked) shown.add(one.run); else shown.delete(one.run); draw(); } });
  main.replaceChildren(h("div", { class: "sheet" }, h("h1", {}, "Runs"), h("section", { class: "panel scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ["", "Run", "Step", "Loss", "Recall at 10", "Images/s", "Changed"].map((w, i) => h("th", { class: i > 1 && i < 6 ? "num" : null, scope: "col" }, w)))),
    h("tbody", {}, runs.map((one, i) => h("tr", {}, h("td", {}, box(one, i)), h("td", {}, h("a", { href: link(one.run) }, one.run), h("div", { class: "soft" }, one.title || "")), h("td", { class: "num" }, count(one.step), one.steps ? h("div", { class: "soft" }, percent(one.step / one.steps)) : null),
      h("td", { class: "num" }, one.loss === null ? "–" : one.loss.toFixed(3)), h("td", { class: "num" }, one.t2i_r10 === null ? "–" : one.t2i_r10.toFixed(1) + " %"), h("td", { class: "num" }, one.images_per_s === null ? "–" : count(Math.round(one.images_per_s))), h("td", {}, one.live ? h("span", { class: "live" }, "running") : ago(one.changed))))))),
    h("p", {}), h("div", { class: "columns" }, h("section", { class: "panel" }, h("h2", {}, "Loss"), plot), h("section", { class: "panel" }, h("h2", {}, "Held-out recall at 10, text to image"), recall))));
  const all = new Map(runs.map((one) => [one.run, new Metrics(one.run)]));
  function draw() {
    const chosen = runs.filter((one) => shown.has(one.run));
    const series = (key, f) => chosen.map((one) => ({ name: one.run, points: f(all.get(one.run).curve(key)), colour: runs.indexOf(one) })).filter((one) => one.points.length);
    plot.replaceChildren(lines(series("loss", (p) => thin(smooth(p))), { label: "Training loss of the runs over steps", x: "step", y: "loss (smoothed)" }));
    recall.replaceChildren(lines(series("t2i_r10", (p) => p), { label: "Held-out recall at 10 of the runs over steps", x: "step", y: "%", zero: true }));
  }
  await Promise.all([...all.values()].map((m) => m.read().catch(() => 0)));
  if (!alive()) return null;
  draw();
  const timer = setInterval(async () => {
    const live = runs.filter((one) => one.live).map((one) => all.get(one.run).read().catch(() => 0));
    if (live.length && (await Promise.all(live)).some((n) => n) && alive()) draw();
  }, PERIOD * 2);
  return { leave: () => clearInterval(timer) };
}

export async function runPage(r, main, alive) {
  const name = r.rest[0] || "", run = await api("/api/runs/" + encodeURIComponent(name)), metrics = new Metrics(name);
  await metrics.read().catch(() => 0);
  if (!alive()) return null;
  document.title = `${name} · run`;
  const state = h("div", {}), plots = h("div", { class: "columns" }), total = run.recipe && run.recipe.train ? run.recipe.train.steps : 0;
  const show = (value) => h("pre", { tabindex: "0" }, JSON.stringify(value, null, 2));
  main.replaceChildren(h("div", { class: "sheet" }, h("p", {}, h("a", { class: "button", href: "#/runs" }, "← All runs")), h("h1", {}, name), h("p", { class: "soft" }, run.recipe && run.recipe.name ? run.recipe.name : ""), state, plots,
    h("div", { class: "columns" }, h("section", { class: "panel" }, h("h2", {}, "Recipe"), show(run.recipe)), h("section", { class: "panel" }, h("h2", {}, "Where it ran"), run.environment ? show(run.environment) : h("p", { class: "soft" }, "Not written down.")))));
  let changed = Date.now(), grown = false;
  function draw() {
    const lastOf = (key) => { const p = metrics.curve(key); return p.length ? p[p.length - 1] : null; };
    const loss = metrics.curve("loss"), step = metrics.lines.reduce((a, l) => Math.max(a, l.step || 0), 0), speed = lastOf("images_per_s"), recall = lastOf("t2i_r10"), seconds = lastOf("seconds");
    const tile = (value, word) => h("div", { class: "tile" }, h("b", {}, value), h("span", {}, word));
    const tiles = [tile(count(step), total ? `of ${count(total)} steps` : "steps")];
    if (loss.length) tiles.push(tile(loss[loss.length - 1][1].toFixed(4), "loss"));
    if (recall) tiles.push(tile(recall[1].toFixed(1) + " %", "recall at 10"));
    if (speed) tiles.push(tile(count(Math.round(speed[1])), "images a second"));
    if (seconds) tiles.push(tile(duration(seconds[1]), "this session"));
    state.replaceChildren(h("div", { class: "row" }, grown ? h("span", { class: "live" }, "running") : null, total ? h("progress", { max: total, value: step, "aria-label": "Steps done" }) : null), h("p", {}), h("div", { class: "tiles" }, tiles));
    const plot = (title, series, options) => { const some = series.filter((one) => one.points.length); return some.length ? h("section", { class: "panel" }, h("h2", {}, title), lines(some, { x: "step", label: title + " over steps", ...options })) : null; };
    const parts = [...new Set(metrics.lines.flatMap((l) => Object.keys(l).filter((k) => k.startsWith("loss_"))))];
    plots.replaceChildren(...[
      plot("Loss", [{ name: "each line", points: thin(loss), colour: 0, faint: true }, { name: "training", points: thin(smooth(loss)), colour: 0 }, { name: "held out", points: metrics.curve("eval_loss"), colour: 1 }], { y: "loss" }),
      plot("Held-out recall", ["t2i_r1", "t2i_r5", "t2i_r10", "i2t_r10"].map((key, i) => ({ name: key.replace("_r", " at ").replace("t2i", "text to image").replace("i2t", "image to text"), points: metrics.curve(key), colour: i })), { y: "%", zero: true }),
      plot("Parts of the loss", parts.map((key, i) => ({ name: key.slice(5), points: thin(smooth(metrics.curve(key))), colour: i })), { y: "loss" }),
      plot("Learning rate", [{ name: "rate", points: thin(metrics.curve("lr")), colour: 2 }], { zero: true }),
      plot("Norm of the gradient", [{ name: "norm", points: thin(metrics.curve("grad_norm")), colour: 3 }], { zero: true }),
      plot("Images a second", [{ name: "images/s", points: thin(metrics.curve("images_per_s")), colour: 4 }], { zero: true }),
    ].filter(Boolean));
    if (!metrics.lines.length) plots.replaceChildren(h("p", { class: "empty" }, "No step has been logged yet."));
  }
  draw();
  const timer = setInterval(async () => {
    try {
      const n = await metrics.read();
      if (!alive()) return;
      if (n) { changed = Date.now(); grown = true; draw(); }
      else if (grown && Date.now() - changed > 120000) { grown = false; draw(); }
    } catch (e) {
      if (alive() && !state.querySelector(".bad") && metrics.lines.length) state.append(problem(e));
    }
  }, PERIOD);
  return { leave: () => clearInterval(timer), key: (e) => { if (e.key === "Escape") location.hash = "#/runs"; } };
}

const duration = (x) => (x < 120 ? `${Math.round(x)} s` : x < 7200 ? `${Math.round(x / 60)} min` : `${(x / 3600).toFixed(1)} h`);
