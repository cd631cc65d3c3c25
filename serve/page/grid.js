// SPDX-License-Identifier: MIT
// A grid of any number of pictures: only what is on the screen exists, pieces of the list are fetched as they come up.
//
// Browsers refuse elements taller than some ten million pixels. So beyond TALLEST the scroll bar is a map: a small move
// (wheel, keys, touch) moves the list by as many pixels, a long one (dragging the bar) jumps to the place in proportion,
// and when the hand rests the bar is put where the list really is.
import { h, picture, score } from "/api.js";

const TALLEST = 4e6, PIECE = 100, KEPT = 40, GAP = 12, EDGE = 17, TEXT = 47;

export class Grid {
  // load(offset, limit, signal) -> {matched, images, order}; failed(error); counted(answer).
  constructor(host, { load, failed, counted, size }) {
    Object.assign(this, { host, load, failed, counted, size, total: 0, at: 0, last: 0, focus: 0, pieces: new Map(), cells: new Map(), spare: [] });
    this.space = h("div", { class: "space" });
    this.place = h("div", { class: "place", "aria-hidden": "true", hidden: true });
    host.setAttribute("role", "group");
    host.setAttribute("aria-label", "Images");
    host.replaceChildren(this.space);
    host.parentElement.append(this.place);
    host.addEventListener("scroll", () => this.scrolled(), { passive: true });
    host.addEventListener("keydown", (e) => this.key(e));
    host.addEventListener("focusin", (e) => {
      const cell = e.target.closest(".cell");
      if (cell) this.focus = Number(cell.dataset.index);
    });
    this.watch = new ResizeObserver(() => this.measure());
    this.watch.observe(host);
  }

  leave() {
    this.watch.disconnect();
    this.place.remove();
    for (const piece of this.pieces.values()) if (piece.stop) piece.stop.abort();
  }

  // A new list, from its beginning or from where it was left.
  async reset(top, focus) {
    for (const piece of this.pieces.values()) if (piece.stop) piece.stop.abort();
    this.pieces.clear();
    for (const cell of this.cells.values()) cell.remove();
    this.cells.clear();
    this.spare = [];
    this.focus = focus || 0;
    this.at = top || 0;
    this.total = null;
    this.fetch(Math.floor(this.focus / PIECE));
  }

  measure() {
    const width = this.host.clientWidth - 2 * EDGE;
    if (width <= 0) return;
    const first = this.columns ? Math.round(this.at / this.height) * this.columns : null;
    const least = Math.min(this.size, Math.floor((width - GAP) / 2));
    this.columns = Math.max(1, Math.floor((width + GAP) / (least + GAP)));
    this.side = Math.floor((width - GAP * (this.columns - 1)) / this.columns);
    this.height = this.side + TEXT + GAP;
    for (const cell of this.cells.values()) cell.remove();
    this.cells.clear();
    this.spare = [];
    if (first !== null) this.at = Math.floor(first / this.columns) * this.height;
    this.spread();
  }

  spread() {
    if (this.total === null || !this.height) return;
    this.view = this.host.clientHeight;
    this.full = Math.ceil(this.total / this.columns) * this.height + GAP;
    this.tall = Math.min(this.full, TALLEST);
    this.space.style.height = this.tall + "px";
    this.most = Math.max(0, this.full - this.view);
    this.at = Math.min(this.at, this.most);
    this.settle();
    this.draw();
  }

  // Where the bar stands for the list's place.
  settle() {
    const room = Math.max(0, this.tall - this.view);
    this.last = this.full > this.tall ? Math.round(this.most ? (this.at / this.most) * room : 0) : this.at;
    this.host.scrollTop = this.last;
    this.last = this.host.scrollTop;
    this.settled = this.at;
  }

  scrolled() {
    const top = this.host.scrollTop, moved = top - this.last, room = this.tall - this.view;
    if (moved === 0) return;
    this.last = top;
    if (this.full <= this.tall) this.at = top;
    else if (Math.abs(moved) < 3 * this.view && top > 0 && top < room) this.at = Math.max(0, Math.min(this.most, this.at + moved));
    else this.at = Math.max(0, Math.min(this.most, (top / room) * this.most));
    const fast = Math.abs(moved) > 3 * this.view;
    this.draw(fast);
    clearTimeout(this.rest);
    this.rest = setTimeout(() => {
      if (this.host.scrollTop !== this.last) return; // moved already: its event is still to come
      if (this.full > this.tall) {
        this.settle();
        this.draw();
      }
      this.place.hidden = true;
    }, 160);
  }

  draw(fast) {
    if (!this.total) return;
    const from = Math.max(0, Math.floor((this.at - this.height) / this.height)) * this.columns;
    const to = Math.min(this.total, (Math.floor((this.at + this.view) / this.height) + 2) * this.columns);
    for (const [index, cell] of this.cells) {
      if (index < from || index >= to) {
        this.cells.delete(index);
        if (cell.contains(document.activeElement)) this.host.focus({ preventScroll: true });
        cell.hidden = true;
        this.spare.push(cell);
      }
    }
    // Cells lie in the host's scrolled space: their place is the list's, moved to where the bar is.
    const shift = this.last - this.at;
    for (let index = from; index < to; index++) {
      let cell = this.cells.get(index);
      if (!cell) {
        cell = this.take(index);
        this.cells.set(index, cell);
      }
      const row = Math.floor(index / this.columns), column = index % this.columns;
      cell.style.transform = `translate(${EDGE + column * (this.side + GAP)}px, ${row * this.height + 4 + shift}px)`;
      if (cell.waiting) this.fill(cell, index);
    }
    if (this.total > 4 * (to - from)) {
      this.place.hidden = false;
      this.place.textContent = `${(from + this.columns).toLocaleString("en-US")} of ${this.total.toLocaleString("en-US")}`;
      clearTimeout(this.hide);
      this.hide = setTimeout(() => { this.place.hidden = true; }, 900);
    }
    clearTimeout(this.want);
    const ask = () => {
      for (let p = Math.floor(from / PIECE); p <= Math.floor((to - 1) / PIECE); p++) this.fetch(p);
      this.drop(Math.floor(from / PIECE), Math.floor((to - 1) / PIECE));
    };
    if (fast) this.want = setTimeout(ask, 70);
    else ask();
  }

  take(index) {
    const cell = this.spare.pop() || h("a", { class: "cell" }, h("img", { alt: "", decoding: "async", draggable: "false" }),
      h("span", { class: "text" }, h("span", {}), h("span", { class: "score" })));
    cell.hidden = false;
    cell.style.width = this.side + "px";
    cell.style.height = this.side + TEXT + "px";
    cell.firstChild.style.height = this.side + "px";
    cell.firstChild.removeAttribute("src");
    cell.dataset.index = index;
    cell.waiting = true;
    cell.classList.add("waiting");
    cell.removeAttribute("href");
    cell.tabIndex = -1;
    if (!cell.parentElement) this.host.append(cell);
    return cell;
  }

  item(index) {
    const piece = this.pieces.get(Math.floor(index / PIECE));
    return piece && piece.images ? piece.images[index % PIECE] : undefined;
  }

  fill(cell, index) {
    const image = this.item(index);
    if (!image) return;
    cell.waiting = false;
    cell.classList.remove("waiting");
    cell.href = `#/image/${image.id}`;
    cell.tabIndex = index === this.focus ? 0 : -1;
    const words = image.caption || image.key;
    cell.setAttribute("aria-label", `${words}${this.scored ? `, score ${score(image.score)}` : ""}, ${index + 1} of ${this.total}`);
    cell.title = words;
    cell.firstChild.src = picture(image.id, this.side * devicePixelRatio > 300 ? 512 : 256);
    cell.children[1].firstChild.textContent = words;
    cell.children[1].lastChild.textContent = this.scored ? score(image.score) : "";
  }

  async fetch(number) {
    if (this.pieces.has(number) || number < 0) return;
    const stop = new AbortController(), piece = { stop };
    this.pieces.set(number, piece);
    try {
      const answer = await this.load(number * PIECE, PIECE, stop.signal);
      if (this.pieces.get(number) !== piece) return;
      piece.images = answer.images;
      piece.stop = null;
      this.scored = answer.order === "vector" || answer.order === "concepts";
      if (this.total !== answer.matched) {
        this.total = answer.matched;
        this.counted(answer);
        if (this.columns) this.spread();
        else this.measure();
      } else {
        this.draw();
      }
    } catch (e) {
      if (this.pieces.get(number) === piece) this.pieces.delete(number);
      if (e.name !== "AbortError") this.failed(e);
    }
  }

  // Pieces that are asked for but not seen any more are called off; of the others the nearest are kept.
  drop(first, last) {
    for (const [number, piece] of this.pieces) {
      const away = number < first ? first - number : number - last;
      if (away > 1 && piece.stop) {
        piece.stop.abort();
        this.pieces.delete(number);
      } else if (this.pieces.size > KEPT && away > KEPT / 2) {
        this.pieces.delete(number);
      }
    }
  }

  key(e) {
    const page = Math.max(1, Math.floor(this.view / this.height)) * this.columns;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity };
    if (!(e.key in steps) || !this.total || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    this.go(Math.max(0, Math.min(this.total - 1, this.focus + steps[e.key])));
  }

  // Puts the keyboard's place on an image and shows it.
  go(index) {
    const old = this.cells.get(this.focus);
    if (old) old.tabIndex = -1;
    this.focus = index;
    const top = Math.floor(index / this.columns) * this.height;
    if (top < this.at) this.at = top;
    else if (top + this.height > this.at + this.view) this.at = Math.min(this.most, top + this.height - this.view);
    this.settle();
    this.draw();
    const cell = this.cells.get(index);
    if (cell) {
      cell.tabIndex = 0;
      cell.focus({ preventScroll: true });
    }
  }
}
