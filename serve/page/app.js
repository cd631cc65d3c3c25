// SPDX-License-Identifier: MIT
// Which page is shown, keys that hold everywhere, colours, pictures that are dropped.
import { api, info, loadInfo, problem, route, toast } from "/api.js";
import { browse } from "/browse.js";
import { imagePage } from "/image.js";
import { conceptPage, conceptsPage } from "/concept.js";
import { failuresPage, statsPage } from "/stats.js";
import { runPage, runsPage } from "/runs.js";

const main = document.getElementById("main");
const pages = { browse, image: imagePage, concept: conceptPage, concepts: conceptsPage, stats: statsPage, failures: failuresPage, runs: runsPage, run: runPage };
const titles = { browse: "Browse", image: "Image", concept: "Concept", concepts: "Concepts", stats: "Statistics", failures: "Failures", runs: "Runs", run: "Run" };
const parents = { image: "browse", concept: "concepts", run: "runs" };
let current = { name: "", leave: null, key: null };

async function show() {
  const r = route();
  const name = pages[r.page] ? r.page : "browse";
  if (current.name === name && current.update && current.update(r)) return mark(name);
  if (current.leave) current.leave();
  const moved = current.name !== "";
  current = { name, leave: null, key: null };
  const mine = current;
  main.replaceChildren();
  main.scrollTop = 0;
  mark(name);
  document.title = `${titles[name]} · ${info.name || "vicha"}`;
  try {
    const made = await pages[name](r, main, () => current === mine);
    if (current === mine && made) Object.assign(mine, made);
    else if (made && made.leave) made.leave();
  } catch (e) {
    if (e.name !== "AbortError" && current === mine) main.replaceChildren(problem(e));
  }
  if (moved && current === mine && name !== "browse") main.focus({ preventScroll: true });
}

function mark(name) {
  for (const a of document.querySelectorAll("#nav a")) {
    const is = a.getAttribute("href") === "#/" + (parents[name] || name);
    if (is) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
}

// --- colours ---------------------------------------------------------------------------------------------------------

const themes = ["system", "light", "dark"], signs = { system: "◐", light: "☀", dark: "☾" };
const themeButton = document.getElementById("theme");
function paint(theme) {
  if (theme === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = theme;
  themeButton.textContent = signs[theme];
  const words = theme === "system" ? "Colours: as the system" : `Colours: ${theme}`;
  themeButton.setAttribute("aria-label", words);
  themeButton.title = words;
}
const kept = () => (themes.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "system");
paint(kept());
themeButton.addEventListener("click", () => {
  const next = themes[(themes.indexOf(kept()) + 1) % 3];
  localStorage.setItem("theme", next);
  paint(next);
});

// --- keys ------------------------------------------------------------------------------------------------------------

const help = document.getElementById("help");
document.getElementById("help-button").addEventListener("click", () => help.showModal());
document.getElementById("skip").addEventListener("click", (e) => { e.preventDefault(); main.focus(); });
let pressedG = 0;
const jumps = { b: "browse", c: "concepts", s: "stats", f: "failures", r: "runs" };
document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || help.open) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName);
  if (typing) return;
  const key = e.key.toLowerCase();
  if (pressedG && Date.now() - pressedG < 1200 && jumps[key]) {
    pressedG = 0;
    location.hash = "#/" + jumps[key];
    return;
  }
  pressedG = key === "g" ? Date.now() : 0;
  if (e.key === "?") return help.showModal();
  if (e.key === "/") {
    e.preventDefault();
    const box = document.querySelector(".words");
    if (box) box.focus();
    else location.hash = "#/browse";
    return;
  }
  if (current.key) current.key(e);
});

// --- pictures from outside -------------------------------------------------------------------------------------------

export async function findLike(file) {
  if (!file) return;
  toast("Looking at the picture…");
  try {
    const { like } = await api("/api/pictures", { method: "POST", body: file });
    sessionStorage.setItem(like, file.name || "pasted picture");
    location.hash = "#/browse?like=" + like;
    toast("Images like " + (file.name || "the pasted picture"));
  } catch (e) {
    toast(e.message);
  }
}
const drop = document.getElementById("drop");
const hasFile = (e) => e.dataTransfer && [...e.dataTransfer.types].includes("Files");
addEventListener("dragover", (e) => { if (hasFile(e)) { e.preventDefault(); drop.hidden = false; } });
addEventListener("dragleave", (e) => { if (!e.relatedTarget) drop.hidden = true; });
addEventListener("drop", (e) => {
  drop.hidden = true;
  if (!hasFile(e)) return;
  e.preventDefault();
  findLike(e.dataTransfer.files[0]);
});
addEventListener("paste", (e) => {
  const file = [...(e.clipboardData ? e.clipboardData.files : [])].find((f) => f.type.startsWith("image/"));
  if (file) { e.preventDefault(); findLike(file); }
});
addEventListener("find-like", (e) => findLike(e.detail));

// --- start -----------------------------------------------------------------------------------------------------------

try {
  await loadInfo();
  const place = document.getElementById("workspace");
  place.textContent = info.name;
  place.title = info.path;
  addEventListener("hashchange", show);
  await show();
} catch (e) {
  main.replaceChildren(problem(e));
}
document.documentElement.dataset.ready = "yes";
