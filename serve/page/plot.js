// SPDX-License-Identifier: MIT
// Plots as SVG: lines with a cross-hair, columns. Colours come from the style sheet, so they follow the theme.
import { count, h, s } from "/api.js";

const W = 640, H = 300, L = 62, R = 14, T = 14, B = 44;

export function tickStep(span, most) {
  if (!(span > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(span / most));
  for (const f of [1, 2, 5, 10]) if (span / (f * power) <= most * 1.000001) return f * power;
  return 10 * power;
}

function short(x) {
  const a = Math.abs(x);
  if (a >= 1e6) return +(x / 1e6).toPrecision(3) + "M";
  if (a >= 1e4) return +(x / 1e3).toPrecision(3) + "k";
  if (a !== 0 && a < 1e-3) return x.toExponential(0);
  return String(+x.toPrecision(4));
}

// An axis over [low, high]: {at(value) -> 0..1, ticks}.
function axis(low, high, log) {
  if (log) {
    const a = Math.floor(Math.log10(Math.max(low, 1e-12)) + 1e-9), b = Math.max(a + 1, Math.ceil(Math.log10(Math.max(high, 1e-12)) - 1e-9));
    const ticks = [];
    for (let e = a; e <= b; e++) ticks.push(10 ** e);
    return { at: (v) => (Math.log10(Math.max(v, 10 ** a)) - a) / (b - a), ticks };
  }
  if (high - low < 1e-12) { low -= 0.5; high += 0.5; }
  const step = tickStep(high - low, 6), from = Math.floor(low / step + 1e-9) * step, to = Math.ceil(high / step - 1e-9) * step, ticks = [];
  for (let v = from; v <= to + step / 2; v += step) ticks.push(+v.toPrecision(12));
  return { at: (v) => (v - from) / (to - from), ticks };
}

function frame(x, y, words) {
  const px = (v) => L + x.at(v) * (W - L - R), py = (v) => H - B - y.at(v) * (H - T - B);
  const parts = [];
  for (const v of y.ticks) parts.push(s("line", { class: "rule", x1: L, x2: W - R, y1: py(v), y2: py(v) }), s("text", { x: L - 8, y: py(v) + 4, "text-anchor": "end" }, short(v)));
  for (const v of x.ticks) if (px(v) <= W - R + 1) parts.push(s("text", { x: px(v), y: H - B + 18, "text-anchor": "middle" }, short(v)));
  parts.push(s("path", { class: "axis", d: `M${L} ${H - B}H${W - R}` }));
  parts.push(s("text", { x: (L + W - R) / 2, y: H - 6, "text-anchor": "middle" }, words.x));
  if (words.y) parts.push(s("text", { x: 14, y: (T + H - B) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(T + H - B) / 2})` }, words.y));
  return { px, py, parts };
}

// series: [{name, points: [[x, y]...], colour: 0..7, faint}]
export function lines(series, { label, x: xWord, y: yWord, logX, logY, zero }) {
  const all = series.flatMap((one) => one.points).filter((p) => isFinite(p[1]));
  if (!all.length) return h("p", { class: "soft" }, "No numbers yet.");
  const ys = all.filter((p) => !logY || p[1] > 0).map((p) => p[1]), xs = all.map((p) => p[0]);
  const least = (v) => v.reduce((a, b) => Math.min(a, b), Infinity), greatest = (v) => v.reduce((a, b) => Math.max(a, b), -Infinity);
  const x = axis(logX ? Math.max(1, least(xs)) : least(xs), greatest(xs), logX), y = axis(zero ? Math.min(0, least(ys)) : least(ys), greatest(ys), logY);
  const f = frame(x, y, { x: xWord, y: yWord });
  const paths = series.map((one) => {
    let d = "", pen = false;
    for (const [a, b] of one.points) {
      if (!isFinite(b)) { pen = false; continue; }
      d += `${pen ? "L" : "M"}${f.px(a).toFixed(1)} ${f.py(b).toFixed(1)}`;
      pen = true;
    }
    return s("path", { class: `line c${one.colour % 8}${one.faint ? " faint" : ""}`, d });
  });
  const svg = s("svg", { class: "plot", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label }, f.parts, paths);
  crossHair(svg, series.filter((one) => !one.faint), f);
  const legend = series.filter((one) => !one.faint);
  return h("div", {}, legend.length > 1 ? h("ul", { class: "legend" }, legend.map((one) => h("li", {}, h("i", { class: `k${one.colour % 8}` }), one.name))) : null, svg);
}

function crossHair(svg, series, f) {
  const group = s("g", { visibility: "hidden" });
  svg.append(group);
  svg.addEventListener("pointermove", (e) => {
    const at = (e.clientX - svg.getBoundingClientRect().left) * (W / svg.getBoundingClientRect().width);
    let best = null;
    for (const one of series) for (const p of one.points) if (isFinite(p[1]) && (!best || Math.abs(f.px(p[0]) - at) < Math.abs(f.px(best[0]) - at))) best = p;
    if (!best) return;
    const x = f.px(best[0]), texts = [`${count(best[0])}`], dots = [];
    for (const one of series) {
      const p = one.points.find((q) => q[0] === best[0]);
      if (!p || !isFinite(p[1])) continue;
      dots.push(s("circle", { cx: x, cy: f.py(p[1]), r: 4, class: `d${one.colour % 8}` }));
      texts.push(`${one.name}: ${short(p[1])}`);
    }
    const wide = 12 + 6.4 * Math.max(...texts.map((t) => t.length)), left = x + wide + 14 > W ? x - wide - 10 : x + 10;
    group.replaceChildren(s("line", { class: "cross", x1: x, x2: x, y1: T, y2: H - B }), ...dots,
      s("rect", { class: "hint-back", x: left, y: T, width: wide, height: 6 + 16 * texts.length, rx: 6 }),
      ...texts.map((t, i) => s("text", { class: "hint", x: left + 7, y: T + 16 + 16 * i }, t)));
    group.setAttribute("visibility", "visible");
  });
  svg.addEventListener("pointerleave", () => group.setAttribute("visibility", "hidden"));
}

// bins: numbers; names(i): what stands under column i.
export function columns(bins, { label, x: xWord, y: yWord, names, every }) {
  const most = Math.max(...bins, 1), n = bins.length, y = axis(0, most, false);
  const f = frame({ at: (v) => v / n, ticks: [] }, y, { x: xWord, y: yWord });
  const wide = (W - L - R) / n, parts = [];
  bins.forEach((v, i) => {
    const top = f.py(v);
    if (v) parts.push(s("rect", { class: "bar-fill", x: L + i * wide + 1, width: Math.max(1, wide - 2), y: Math.min(top, H - B - 1), height: Math.max(1, H - B - top), rx: Math.min(3, wide / 4) }, s("title", {}, `${names(i)}: ${count(v)}`)));
    if (i % (every || 1) === 0) parts.push(s("text", { x: L + (i + 0.5) * wide, y: H - B + 18, "text-anchor": "middle" }, names(i)));
  });
  return s("svg", { class: "plot", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label }, f.parts, parts);
}
