// SPDX-License-Identifier: MIT
// What all pages use: elements, requests, numbers as text, the address as state.

// h("a", {href, class, onclick}, "text", child...): text is always text, never markup.
export function h(tag, attributes, ...children) {
  const e = document.createElement(tag);
  set(e, attributes);
  e.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return e;
}

export function s(tag, attributes, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(e, attributes);
  e.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return e;
}

function set(e, attributes) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) e.addEventListener(key.slice(2), value);
    else if (key === "width%") e.style.width = value + "%";
    else e.setAttribute(key, value === true ? "" : value);
  }
}

export class ApiError extends Error {}

export async function api(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new ApiError("The server does not answer. Is 'vicha serve' still running?");
  }
  const text = await answer.text();
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ApiError(`The server's answer to ${path} is not JSON (status ${answer.status}).`);
  }
  if (!answer.ok) throw new ApiError(value.error || `status ${answer.status}`);
  return value;
}

export const info = {};
export async function loadInfo() {
  Object.assign(info, await api("/api/info"));
}

export const picture = (id, side) => `/api/pictures/${id}?${side ? `side=${side}&` : ""}v=${info.stamp}`;
export const conceptAddress = (text) => "#/concept?text=" + encodeURIComponent(text);

const whole = new Intl.NumberFormat("en-US");
export const count = (n) => (n === null || n === undefined ? "–" : whole.format(n));
export const score = (x) => (x === null || x === undefined ? "–" : x.toFixed(3));
export const percent = (x) => (x === null || x === undefined ? "–" : (100 * x).toFixed(x < 0.1 ? 1 : 0) + " %");
export function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  for (; n >= 1000 && i < 4; i++) n /= 1000;
  return (i && n < 100 ? n.toFixed(1) : Math.round(n)) + " " + units[i];
}
export const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many || one + "s"}`;

// The address after '#': {page, rest, params}.
export function route() {
  const [path, search] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [page, ...rest] = path.split("/");
  return { page: page || "browse", rest: rest.map(decodeURIComponent), params: new URLSearchParams(search || "") };
}

export function toast(text) {
  const place = document.getElementById("toast");
  place.replaceChildren(h("p", {}, text));
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => place.replaceChildren(), 7000);
}

export const problem = (e) => h("div", { class: "notice bad", role: "alert" }, e.message || String(e));

// Small pictures side by side, each a link to its page.
export function strip(images, withScore) {
  return h("div", { class: "strip" }, images.map((i) =>
    h("a", { href: `#/image/${i.id}` },
      h("img", { src: picture(i.id, 256), alt: i.caption || i.key, loading: "lazy", decoding: "async" }),
      h("span", { class: "line" }, withScore ? h("span", { class: "soft" }, score(i.score) + "  ") : null, i.caption || i.key))));
}

export function track(share, kind) {
  return h("div", { class: "track", "aria-hidden": "true" }, h("div", { class: "fill " + (kind || ""), "width%": Math.max(0, Math.min(100, 100 * share)) }));
}
