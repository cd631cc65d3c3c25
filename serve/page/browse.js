// SPDX-License-Identifier: MIT
// The search box with its chips and suggestions, and the grid under it. The question lives in the address.
import { api, count, h, info, picture, plural, route } from "/api.js";
import { Grid } from "/grid.js";

const chips = [["like", "like"], ["text", "looks like"], ["with", "concept"], ["without", "without"], ["caption", "caption has"]];
const filters = ["split", "source", "tag", "min_score"];
const keys = [...chips.map((c) => c[0]), ...filters];
const left = { question: null, top: 0, focus: 0 }; // where the grid was when another page was opened
export const last = { question: "", grid: null };

const only = (params) => {
  const out = new URLSearchParams();
  for (const key of keys) for (const value of params.getAll(key)) if (value) out.append(key, value);
  return out;
};
const go = (params) => {
  const text = only(params).toString();
  location.hash = "#/browse" + (text ? "?" + text : "");
};

export async function browse(r, main) {
  let params = only(r.params), size = Number(localStorage.getItem("size")) || 190;
  const box = h("div", { class: "box" }), bar = h("div", { class: "bar" }), notice = h("div"), host = h("div", { class: "grid", tabindex: "-1" });
  const wrap = h("div", { class: "browse" }, h("search", { class: "ask" }, box, bar, notice), host);
  main.replaceChildren(wrap);
  const counted = h("span", { class: "count", role: "status" }, "…"), how = h("span", { class: "soft optional" });
  const grid = new Grid(host, {
    size,
    load: (offset, limit, signal) => api(`/api/images?${params}${params.size ? "&" : ""}offset=${offset}&limit=${limit}`, { signal }),
    failed: (e) => {
      counted.textContent = "";
      notice.replaceChildren(h("div", { class: "notice bad", role: "alert" }, e.message));
    },
    counted: (answer) => {
      counted.textContent = (answer.matched_exact ? "" : "at least ") + plural(answer.matched, "image");
      how.textContent = describe(answer);
      notice.replaceChildren(answer.notice ? h("div", { class: "notice" }, answer.notice) : "");
      if (!answer.matched) notice.replaceChildren(h("p", { class: "empty" }, params.size ? "No image fits all of this. Take a condition away." : "This workspace has no images yet: 'vicha extract' brings them in."));
    },
  });
  last.grid = grid;
  const search = new SearchBox(box, () => params);
  search.draw();
  drawBar();
  begin();

  function begin() {
    last.question = params.toString();
    const same = left.question === last.question;
    grid.reset(same ? left.top : 0, same ? left.focus : 0);
  }

  function drawBar() {
    const list = (key, values, word) => values && values.length > (key === "source" ? 1 : 0) && h("label", {}, word,
      h("select", { onchange: (e) => { params.delete(key); if (e.target.value) params.set(key, e.target.value); go(params); } },
        h("option", { value: "" }, "all"), values.map((v) => h("option", { value: v, selected: params.get(key) === v }, v))));
    const scores = params.has("text") || params.has("like") || params.has("with");
    const sizes = h("span", { class: "row", role: "group", "aria-label": "Size of the pictures" }, [[130, "S"], [190, "M"], [280, "L"]].map(([n, word]) =>
      h("button", { class: "quiet", "aria-pressed": String(n === size), "aria-label": `Pictures ${word === "S" ? "small" : word === "M" ? "medium" : "large"}`,
        onclick: () => { size = n; grid.size = n; localStorage.setItem("size", n); grid.measure(); drawBar(); } }, word)));
    bar.replaceChildren(...[counted, how, h("span", { class: "grow" }), list("split", info.splits, "Split"), list("source", info.sources, "Source"), list("tag", info.tags, "Tag"),
      scores && h("label", {}, "Score at least", h("input", { type: "number", step: "0.01", min: "-1", max: "1", value: params.get("min_score") || "",
        onchange: (e) => { params.delete("min_score"); if (e.target.value) params.set("min_score", e.target.value); go(params); } })),
      sizes, exportMenu()].filter(Boolean));
  }

  function exportMenu() {
    const ranked = params.has("text") || params.has("like");
    const link = (format, name, what) => h("a", { href: `/api/export?${params}${params.size ? "&" : ""}format=${format}`, download: "" }, name, h("small", {}, what));
    const menu = h("details", { class: "menu" }, h("summary", {}, "Export"), h("div", {},
      link("jsonl", "JSON lines", "captions, concepts, scores"), link("csv", "CSV", "for spreadsheets"),
      link("paths", "Paths", "one a line, for other tools"), link("ids", "Numbers", "image_id, for SQL"),
      ranked && h("small", { class: "row" }, "the best 1,000 of this order")));
    menu.addEventListener("focusout", (e) => { if (!menu.contains(e.relatedTarget)) menu.open = false; });
    menu.addEventListener("keydown", (e) => { if (e.key === "Escape") { menu.open = false; menu.firstChild.focus(); } });
    return menu;
  }

  return {
    leave: () => { Object.assign(left, { question: last.question, top: grid.at, focus: grid.focus }); grid.leave(); search.leave(); },
    update: (r2) => { params = only(r2.params); search.draw(); drawBar(); begin(); return true; },
    key: (e) => {
      if (e.key.startsWith("Arrow") && !host.contains(e.target) && grid.total) { e.preventDefault(); grid.go(grid.focus); }
    },
  };
}

function describe(answer) {
  const words = { vector: "nearest first", concepts: "highest score first", bm25: "best caption first", caption: "in the order of captions", id: "in their order" };
  return `${words[answer.order] || ""} · ${answer.seconds < 0.0995 ? (1000 * answer.seconds).toFixed(1) : Math.round(1000 * answer.seconds)} ms`;
}

class SearchBox {
  constructor(box, params) {
    Object.assign(this, { box, params, list: [], active: -1 });
    this.input = h("input", { class: "words", type: "text", role: "combobox", "aria-expanded": "false", "aria-controls": "suggest", "aria-autocomplete": "list",
      "aria-label": "Search images", autocomplete: "off", spellcheck: "false", placeholder: info.vectors ? "Describe a picture, name a concept…" : "Name a concept, words of a caption…" });
    this.options = h("ul", { class: "suggest", id: "suggest", role: "listbox", "aria-label": "Suggestions", hidden: true });
    this.file = h("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "Picture to compare with" });
    this.file.addEventListener("change", () => dispatchEvent(new CustomEvent("find-like", { detail: this.file.files[0] })));
    this.input.addEventListener("input", () => this.suggest());
    this.input.addEventListener("focus", () => this.suggest());
    this.input.addEventListener("keydown", (e) => this.key(e));
    this.input.addEventListener("blur", () => setTimeout(() => document.activeElement === this.input || this.close(), 150));
  }

  leave() { if (this.stop) this.stop.abort(); }

  draw() {
    const made = [];
    for (const [key, word] of chips) {
      for (const value of this.params().getAll(key)) {
        const thumb = key === "like" && /^\d+$/.test(value) ? h("img", { src: picture(value, 256), alt: "" }) : null;
        const words = key === "like" ? (thumb ? `image ${value}` : sessionStorage.getItem(value) || "your picture") : value;
        made.push(h("span", { class: "chip " + key }, h("span", { class: "kind" }, word), thumb, words,
          h("button", { "aria-label": `Remove ${word} ${words}`, onclick: () => this.remove(key, value) }, "×")));
      }
    }
    const clear = made.length > 1 ? h("button", { class: "quiet", onclick: () => go(new URLSearchParams()) }, "Clear") : "";
    const like = info.vectors ? h("button", { class: "quiet optional", title: "Find images like a picture of yours (or drop it anywhere)", onclick: () => this.file.click() }, "By picture…") : "";
    const typing = document.activeElement === this.input; // being moved takes the focus away
    this.box.replaceChildren(...made, this.input, clear, like, this.file, this.options);
    if (typing) this.input.focus();
  }

  remove(key, value) {
    const params = new URLSearchParams(this.params()), rest = params.getAll(key).filter((v) => v !== value);
    params.delete(key);
    for (const v of rest) params.append(key, v);
    go(params);
    this.input.focus();
  }

  add(key, value) {
    const params = new URLSearchParams(this.params());
    if (key === "text" || key === "like") { params.delete("text"); params.delete("like"); params.set(key, value); }
    else if (!params.getAll(key).includes(value)) params.append(key, value);
    this.input.value = "";
    this.close();
    go(params);
  }

  async suggest() {
    const text = this.input.value.trim();
    if (this.stop) this.stop.abort();
    if (!text) return this.close();
    const not = text.startsWith("-"), bare = not ? text.slice(1).trim() : text;
    const expression = /(^|\s)(AND|OR|NOT)\s|[()]|>=/.test(bare);
    const fixed = [];
    if (expression) fixed.push(["with", bare, "expression"]);
    if (!not && !expression && info.vectors) fixed.push(["text", text, "looks like"]);
    if (!not && !expression) fixed.push(["caption", text, "in captions"]);
    this.list = fixed;
    this.active = fixed.length ? 0 : -1;
    this.open();
    if (expression || !bare) return;
    this.stop = new AbortController();
    try {
      const { concepts } = await api(`/api/concepts?prefix=${encodeURIComponent(bare)}&limit=8`, { signal: this.stop.signal });
      this.list = [...fixed, ...concepts.map((c) => [not ? "without" : "with", c.text, not ? "without" : "concept", c.images])];
      if (this.active < 0 && this.list.length) this.active = 0;
      this.open();
    } catch (e) {
      if (e.name !== "AbortError") this.close();
    }
  }

  open() {
    this.options.replaceChildren(...this.list.map(([key, value, word, n], i) => h("li", { role: "option", id: `s${i}`, "aria-selected": String(i === this.active),
      onmousedown: (e) => { e.preventDefault(); this.add(key, value); } }, h("span", { class: "kind" }, word), h("span", {}, value), n !== undefined && h("span", { class: "num" }, plural(n, "image")))));
    this.options.hidden = !this.list.length;
    this.input.setAttribute("aria-expanded", String(!this.options.hidden));
    if (this.active >= 0) this.input.setAttribute("aria-activedescendant", `s${this.active}`);
    else this.input.removeAttribute("aria-activedescendant");
    const chosen = this.options.children[this.active];
    if (chosen) chosen.scrollIntoView({ block: "nearest" });
  }

  close() {
    this.options.hidden = true;
    this.list = [];
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  key(e) {
    if (e.key === "ArrowDown" || e.key === "ArrowUp") {
      if (!this.list.length) return;
      e.preventDefault();
      this.active = (this.active + (e.key === "ArrowDown" ? 1 : this.list.length - 1)) % this.list.length;
      this.open();
    } else if (e.key === "Enter" && this.list[this.active]) {
      e.preventDefault();
      const [key, value] = this.list[this.active];
      this.add(key, value);
    } else if (e.key === "Escape") {
      if (this.options.hidden) this.input.blur();
      else this.close();
    } else if (e.key === "Backspace" && !this.input.value) {
      for (const [key] of [...chips].reverse()) {
        const values = this.params().getAll(key);
        if (values.length) return this.remove(key, values[values.length - 1]);
      }
    }
  }
}
