// SPDX-License-Identifier: MIT
// The vocabulary, and a concept's page.
import { api, conceptAddress, count, h, percent, plural, problem, score, strip, track } from "/api.js";
import { columns } from "/plot.js";

export async function conceptsPage(r, main, alive) {
  const sort = r.params.get("sort") === "text" ? "text" : "images", step = 200;
  const body = h("tbody", {}), more = h("button", { onclick: () => load(), hidden: true }, "Show more"), filter = h("input", { type: "search", "aria-label": "Concepts that begin with", placeholder: "begins with…" });
  const order = (key, word, kind) => h("th", { class: kind, scope: "col", "aria-sort": sort === key ? (key === "text" ? "ascending" : "descending") : null }, h("a", { href: `#/concepts?sort=${key}` }, word));
  const state = h("div", {});
  main.replaceChildren(h("div", { class: "sheet" }, h("header", { class: "row" }, h("h1", {}, "Concepts"), h("span", { class: "grow" }), filter), state,
    h("div", { class: "panel scroll" }, h("table", {}, h("thead", {}, h("tr", {}, order("text", "Concept"), order("images", "Images", "num"), h("th", {}, h("span", { class: "soft optional" }, "")),
      h("th", { class: "num", scope: "col" }, "In captions"), h("th", { class: "num optional", scope: "col" }, "Mean cosine"), h("th", { class: "num optional", scope: "col" }, "Best"))), body), h("p", {}, more))));
  let offset = 0, most = 0, stop = new AbortController();
  async function load() {
    const prefix = filter.value.trim().toLowerCase();
    const answer = await api(prefix ? `/api/concepts?prefix=${encodeURIComponent(prefix)}&limit=100` : `/api/concepts?sort=${sort}&offset=${offset}&limit=${step}`, { signal: stop.signal });
    if (!alive()) return;
    if (!offset) body.replaceChildren();
    most = Math.max(most, ...answer.concepts.map((c) => c.images || 0));
    body.append(...answer.concepts.map((c) => h("tr", {}, h("td", {}, h("a", { href: conceptAddress(c.text) }, c.text)), h("td", { class: "num" }, count(c.images)), h("td", {}, track(most ? c.images / most : 0)),
      h("td", { class: "num" }, c.in_captions === undefined ? "" : count(c.in_captions)), h("td", { class: "num optional" }, score(c.score_mean ?? null)), h("td", { class: "num optional" }, score(c.score_max ?? null)))));
    more.hidden = !!prefix || answer.concepts.length < step;
    offset += answer.concepts.length;
    state.replaceChildren(body.children.length ? "" : h("p", { class: "empty" }, prefix ? "No concept begins like this." : "There are no concepts yet: 'vicha concepts' finds them."));
  }
  filter.addEventListener("input", () => {
    stop.abort();
    stop = new AbortController();
    offset = 0;
    load().catch((e) => e.name === "AbortError" || state.replaceChildren(problem(e)));
  });
  await load();
  return null;
}

export async function conceptPage(r, main, alive) {
  const text = r.params.get("text") || "";
  const c = await api("/api/concept?text=" + encodeURIComponent(text));
  if (!alive()) return null;
  document.title = `${c.text} · concept`;
  const find = "#/browse?with=" + encodeURIComponent(quoted(c.text)), best = h("section", { class: "panel" }, h("h2", {}, "Best images"), h("p", { class: "soft" }, "…"));
  const tile = (value, word) => h("div", { class: "tile" }, h("b", {}, value), h("span", {}, word));
  main.replaceChildren(h("div", { class: "sheet" },
    h("header", { class: "row" }, h("h1", {}, c.text), c.pos ? h("span", { class: "soft" }, c.pos) : null, h("span", { class: "grow" }), h("a", { class: "button primary", href: find }, `Browse ${plural(c.images || 0, "image")}`)),
    h("div", { class: "tiles" }, tile(count(c.images), "images have it"), tile(count(c.as_first), "have it first"), tile(count(c.in_captions), "times in captions"), tile(score(c.score_mean), "mean cosine"), tile(score(c.score_max), "best cosine")),
    best, h("p", {}),
    h("div", { class: "columns" },
      h("section", { class: "panel" }, h("h2", {}, "Its scores"), columns(c.histogram, { label: `Histogram of the cosines of ${c.text}`, x: "cosine", y: "images", every: 4,
        names: (i) => (c.score_low + (i / c.histogram.length) * (c.score_high - c.score_low)).toFixed(3) })),
      together(c))));
  try {
    const answer = await api(`/api/images?with=${encodeURIComponent(quoted(c.text))}&limit=16`);
    best.lastChild.replaceWith(answer.images.length ? strip(answer.images, true) : h("p", { class: "soft" }, "No image has it."));
  } catch (e) {
    best.lastChild.replaceWith(problem(e));
  }
  return null;
}

// A name as an expression: quotes keep AND, OR and brackets inside a name from being read as such.
const quoted = (text) => (/^[\p{L}\p{N} -]+$/u.test(text) && !/(^|\s)(AND|OR|NOT)(\s|$)/.test(text) ? text : '"' + text.replaceAll('"', '""') + '"');

function together(c) {
  return h("section", { class: "panel" }, h("h2", {}, "Appears with"),
    h("p", { class: "soft" }, c.together_sample < c.images ? `Among its best ${count(c.together_sample)} images. ` : "", "PMI in bits: how much more often than by chance."),
    h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Concept"), h("th", { class: "num", scope: "col" }, "Share"), h("th", {}), h("th", { class: "num", scope: "col" }, "PMI"))),
      h("tbody", {}, c.together.slice(0, 16).map((t) => h("tr", {}, h("td", {}, h("a", { href: conceptAddress(t.text) }, t.text)), h("td", { class: "num" }, percent(t.share)), h("td", {}, track(t.share)),
        h("td", { class: "num" }, t.pmi === null ? "–" : (t.pmi > 0 ? "+" : "") + t.pmi.toFixed(2))))))));
}
