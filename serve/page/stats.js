// SPDX-License-Identifier: MIT
// Statistics of the workspace, and what was rejected.
import { api, bytes, conceptAddress, count, h, info, percent, plural, problem, track } from "/api.js";
import { columns, lines } from "/plot.js";

export async function statsPage(r, main, alive) {
  main.replaceChildren(h("div", { class: "sheet" }, h("p", { class: "soft" }, "Counting…"), h("progress", { "aria-label": "Counting" })));
  const { stats: t, age } = await api("/api/stats");
  if (!alive()) return null;
  const tile = (value, word) => h("div", { class: "tile" }, h("b", {}, value), h("span", {}, word));
  const last = t.images_by_captions.reduce((a, n, i) => (n ? i : a), 0);
  main.replaceChildren(h("div", { class: "sheet" },
    h("header", {}, h("h1", {}, info.name), h("span", { class: "soft" }, `${info.path}${age > 5 ? ` · counted ${plural(age, "second")} ago` : ""}`)),
    h("div", { class: "tiles" }, tile(count(t.images), "images listed"), tile(count(t.stored), `stored, ${bytes(t.stored_bytes)}`), tile(count(t.rejected), "rejected"), tile(count(t.captions), "captions"),
      tile(count(t.embedded), "vectors"), tile(count(t.mined), "images mined"), tile(count(t.concepts), "concepts")),
    h("div", { class: "columns" },
      h("section", { class: "panel" }, h("h2", {}, "Concepts of most images"), t.top_concepts.length ? h("div", { class: "scores" }, t.top_concepts.flatMap((c) =>
        [h("a", { href: conceptAddress(c.text) }, c.text), track(c.images / t.top_concepts[0].images), h("span", { class: "num" }, count(c.images))])) : h("p", { class: "soft" }, "Nothing is mined yet.")),
      h("section", { class: "panel" }, h("h2", {}, "How often concepts are used"), lines([{ name: "images", points: t.frequencies, colour: 0 }],
        { label: "Images of a concept over its rank, both axes logarithmic", x: `rank of the concept (${count(t.concepts_used)} of ${count(t.concepts)} used)`, y: "images", logX: true, logY: true }))),
    h("div", { class: "columns" },
      h("section", { class: "panel" }, h("h2", {}, "Cosines of mined concepts"), columns(t.score_histogram, { label: "Histogram of all mined cosines", x: "cosine", y: "image–concept pairs", every: 4,
        names: (i) => (t.score_low + (i / t.score_histogram.length) * (t.score_high - t.score_low)).toFixed(3) })),
      h("section", { class: "panel" }, h("h2", {}, "Captions of an image"), columns(t.images_by_captions.slice(0, last + 1), { label: "Images by their number of captions", x: "captions", y: "images",
        names: (i) => i + (i === t.images_by_captions.length - 1 ? "+" : "") }))),
    h("section", { class: "panel scroll" }, h("h2", {}, "Sources"), h("table", {}, h("thead", {}, h("tr", {}, ["Source", "Images", "Rejected", "Mined", "Licence"].map((w, i) => h("th", { class: i > 0 && i < 4 ? "num" : null, scope: "col" }, w)))),
      h("tbody", {}, t.by_source.map((one) => h("tr", {}, h("td", {}, h("a", { href: "#/browse?source=" + encodeURIComponent(one.name) }, one.name), h("div", { class: "soft" }, one.uri)), h("td", { class: "num" }, count(one.images)),
        h("td", { class: "num" }, `${count(one.rejected)} (${percent(one.images ? one.rejected / one.images : 0)})`), h("td", { class: "num" }, count(one.mined)), h("td", {}, one.licence || "–"))))))));
  return null;
}

export async function failuresPage(r, main, alive) {
  const cause = r.params.get("cause") || "", body = h("tbody", {}), more = h("button", { hidden: true, onclick: () => load().catch((e) => main.append(problem(e))) }, "Show more"), limit = 100;
  let after = 0;
  const ask = () => api(`/api/failures?limit=${limit}&after=${after}${cause ? "&cause=" + encodeURIComponent(cause) : ""}`);
  function add(answer) {
    body.append(...answer.failures.map((f) => h("tr", {}, h("td", { class: "num" }, h("a", { href: `#/image/${f.id}` }, f.id)), h("td", {}, f.cause), h("td", {}, f.key, h("div", { class: "soft" }, f.source)), h("td", {}, f.error || ""))));
    if (answer.failures.length) after = answer.failures[answer.failures.length - 1].id;
    more.hidden = answer.failures.length < limit;
  }
  const load = async () => add(await ask());
  const first = await ask();
  if (!alive()) return null;
  const sums = new Map();
  for (const c of first.causes) sums.set(c.cause, (sums.get(c.cause) || 0) + c.images);
  const rows = [...sums].sort((a, b) => b[1] - a[1]), total = rows.reduce((a, b) => a + b[1], 0);
  add(first);
  main.replaceChildren(h("div", { class: "sheet" }, h("header", {}, h("h1", {}, "Failures by cause"), h("span", { class: "soft" }, total ? `${plural(total, "image")} of ${count(info.images)} rejected; nothing else of the run was lost` : "")),
    total ? h("section", { class: "panel" }, h("div", { class: "scores" }, rows.flatMap(([name, n]) => [h("a", { href: "#/failures?cause=" + encodeURIComponent(name), "aria-current": name === cause ? "true" : null }, name.replaceAll("_", " ")), track(n / rows[0][1], "k1"), h("span", { class: "num" }, count(n))])))
      : h("p", { class: "empty" }, "Nothing was rejected."),
    h("p", { class: "row" }, cause ? h("a", { class: "button", href: "#/failures" }, "All causes") : null, cause ? h("strong", {}, cause.replaceAll("_", " ")) : null),
    total ? h("section", { class: "panel scroll" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", { class: "num", scope: "col" }, "Image"), h("th", { scope: "col" }, "Cause"), h("th", { scope: "col" }, "What"), h("th", { scope: "col" }, "Why"))), body), h("p", {}, more)) : null));
  return null;
}
