// SPDX-License-Identifier: MIT
// A picture's page: captions, concepts with scores, neighbours, where it came from.
import { api, bytes, conceptAddress, count, h, info, picture, problem, score, strip, track } from "/api.js";
import { last } from "/browse.js";

export async function imagePage(r, main, alive) {
  const id = Number(r.rest[0]);
  const image = await api("/api/images/" + encodeURIComponent(r.rest[0] || ""));
  if (!alive()) return null;
  const back = "#/browse" + (last.question ? "?" + last.question : "");
  const words = image.captions.length ? image.captions[0].text : image.key;
  document.title = `${words} · ${info.name}`;
  const sides = await around(id, image);
  if (!alive()) return null;
  const near = h("section", { class: "panel" }, h("h2", {}, "Nearest images"), h("p", { class: "soft" }, "…"));
  const like = `#/browse?like=${id}`;
  main.replaceChildren(h("div", { class: "sheet" },
    h("div", { class: "row" }, h("a", { class: "button", href: back }, "← Back to the grid"),
      h("a", { class: "button", href: sides.before ? `#/image/${sides.before}` : null, rel: "prev", "aria-disabled": sides.before ? null : "true" }, "Previous"),
      h("a", { class: "button", href: sides.after ? `#/image/${sides.after}` : null, rel: "next", "aria-disabled": sides.after ? null : "true" }, "Next"),
      h("span", { class: "grow" }), image.row !== null && h("a", { class: "button primary", href: like }, "Images like this")),
    h("p", {}),
    h("div", { class: "picture" },
      h("figure", {}, image.stored_bytes !== null ? h("img", { src: picture(id, 0), alt: words, width: image.width, height: image.height })
        : h("p", { class: "soft" }, image.error || "No picture is stored.")),
      h("div", {}, captions(image), concepts(image))),
    h("div", { class: "columns" }, near, origin(image))));
  neighbours(id, image, near).catch((e) => near.append(problem(e)));
  return {
    key: (e) => {
      const to = { ArrowLeft: sides.before, ArrowRight: sides.after }[e.key];
      if (to) location.hash = `#/image/${to}`;
      else if (e.key === "Escape") location.hash = back;
      else if (e.key.toLowerCase() === "s" && image.row !== null) location.hash = like;
    },
  };
}

// The images before and after: in the list that is being browsed, else by number.
async function around(id, image) {
  const grid = last.grid;
  if (grid && grid.total && last.question) {
    for (const [number, piece] of grid.pieces) {
      const at = piece.images ? piece.images.findIndex((i) => i.id === id) : -1;
      if (at < 0) continue;
      const index = number * 100 + at, pick = (i) => (i >= 0 && i < grid.total && grid.item(i) ? grid.item(i).id : 0);
      return { before: pick(index - 1), after: pick(index + 1) };
    }
  }
  return { before: image.previous, after: image.following };
}

function captions(image) {
  if (image.error) return h("div", { class: "notice bad" }, h("strong", {}, image.cause), ": ", image.error);
  if (!image.captions.length) return h("h1", {}, image.key);
  return h("div", {}, h("h1", {}, image.captions[0].text), h("ul", { class: "captions" }, image.captions.slice(1).map((c) => h("li", {}, c.text))));
}

function concepts(image) {
  if (!image.concepts.length) return h("p", { class: "soft" }, "No concepts are mined for this image yet: ", h("code", {}, "vicha concepts"), ".");
  const most = Math.max(...image.concepts.map((c) => c.score), 1e-9);
  return h("section", { class: "panel" }, h("h2", {}, "Concepts by cosine"), h("div", { class: "scores" },
    image.concepts.flatMap((c) => [h("a", { href: conceptAddress(c.text), title: `${count(c.images)} images` }, c.text), track(c.score / most), h("span", { class: "num" }, score(c.score))])));
}

async function neighbours(id, image, place) {
  if (image.row === null) return place.lastChild.replaceWith(h("p", { class: "soft" }, "This image has no vector, so nothing is known to be near it."));
  const answer = await api(`/api/images?like=${id}&limit=12`);
  place.lastChild.replaceWith(strip(answer.images, true));
}

function origin(image) {
  const web = /^https?:\/\//.test(image.link || "");
  const rows = [
    ["Number", count(image.id)], ["Source", image.source], ["Key", image.key],
    ["Link", web ? h("a", { href: image.link, rel: "noreferrer noopener", target: "_blank" }, image.link) : image.link],
    ["Licence", image.licence], ["Size", image.width ? `${image.width} × ${image.height} pixels` : null],
    ["File", image.bytes ? `${bytes(image.bytes)}, ${image.mime}` : image.mime],
    ["Stored in", image.shard !== null ? `images/${String(image.shard).padStart(5, "0")}.tar at byte ${count(image.offset)}, ${bytes(image.stored_bytes)}` : null],
    ["Vector", image.row !== null ? `row ${count(image.row)}` : null], ["Split", image.split],
    ["SHA-256", image.sha256 && h("span", { class: "mono" }, image.sha256)], ["Perceptual hash", image.phash && h("span", { class: "mono" }, image.phash)],
  ];
  return h("section", { class: "panel" }, h("h2", {}, "Where it came from"),
    h("dl", { class: "facts" }, rows.filter((row) => row[1]).flatMap(([word, value]) => [h("dt", {}, word), h("dd", {}, value)])));
}
