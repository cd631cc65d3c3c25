# SPDX-License-Identifier: MIT
"""The page in headless Chromium: searching, filters, keys, paging, pictures, themes, a run that grows, contrast.

test_page.py MAKE_INPUTS MAKE_CLIP; VICHA names the program. Exit status 77 where there is no Chromium. With
VICHA_SCREENSHOTS=DIR pictures of the pages are left there.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse

import chromium

IMAGES = 400


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def make_site(folder, make_inputs, make_clip):
    vicha = os.environ["VICHA"]
    site = os.path.join(folder, "ws")
    run(make_inputs, os.path.join(folder, "in"), str(IMAGES))
    with open(os.path.join(folder, "in", "captions.jsonl"), "a") as out:
        out.write('{"image": "absent.jpg", "caption": "nothing"}\n')
    model = subprocess.run([make_clip], check=True, capture_output=True, text=True).stdout.strip()
    done = subprocess.run([vicha, "extract", "-q", "-w", site, os.path.join(folder, "in", "captions.jsonl")],
                          stdout=subprocess.DEVNULL)
    assert done.returncode == 3, done.returncode
    run(vicha, "concepts", "-q", "-w", site, "--clip", model, "--min-count", "1")
    os.makedirs(os.path.join(site, "runs", "first"))
    with open(os.path.join(site, "runs", "first", "recipe.json"), "w") as out:
        json.dump({"name": "a run", "train": {"steps": 100}}, out)
    add_steps(site, range(1, 31))
    return site, model


def add_steps(site, steps):
    with open(os.path.join(site, "runs", "first", "metrics.jsonl"), "a") as out:
        for step in steps:
            out.write(json.dumps({"step": step, "loss": 4 / step, "lr": 0.001, "images_per_s": 100}) + "\n")


# Lowest contrast of text that is shown, with the place, after WCAG 2's formula.
CONTRAST = """(() => {
  const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const light = ([r, g, b]) => { const f = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
  const under = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
  let worst = [99, ''];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; (n = walk.nextNode());) {
    const e = n.parentElement, s = getComputedStyle(e);
    if (!n.textContent.trim() || !e.getClientRects().length || s.visibility === 'hidden') continue;
    const c = parse(e.closest('svg') ? s.fill : s.color);
    if (c[3] === 0) continue;
    const a = light(c), b = light(under(e.closest('svg') ? e.closest('svg') : e)), ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst[0]) worst = [ratio, e.tagName + '.' + e.className + ': ' + n.textContent.trim().slice(0, 40)];
  }
  return worst;
})()"""


class Flows:
    def __init__(self, page, url, site, folder):
        self.page, self.url, self.site, self.folder = page, url, site, folder

    def go(self, address):
        self.page.open(self.url + address)
        self.page.until("document.documentElement.dataset.ready === 'yes'")

    def cells(self):
        self.page.until("document.querySelectorAll('.cell:not(.waiting):not([hidden])').length > 5", "pictures in the grid")

    def count(self, text):
        self.page.until(f"document.querySelector('.count').textContent === {json.dumps(text)}", f"count '{text}'")

    def browse(self):
        self.go("#/browse")
        self.cells()
        self.count(f"{IMAGES} images")
        assert self.page.eval("document.querySelectorAll('.cell').length") < 200, "the grid holds only what is seen"
        self.page.until("[...document.querySelectorAll('.cell:not([hidden]) img')].slice(0, 5).every((i) => i.complete && i.naturalWidth)")

    def search_text(self):
        self.go("#/browse")
        self.cells()
        self.page.press("/")
        self.page.until("document.activeElement.classList.contains('words')")
        self.page.type("a dog on the beach")
        self.page.until("!document.querySelector('.suggest').hidden")
        self.page.press("Enter")
        self.page.until("location.hash.includes('text=a+dog')")
        self.page.until("document.querySelector('.chip.text') && document.querySelector('.bar').textContent.includes('nearest first')")
        self.page.until("[...document.querySelectorAll('.cell:not([hidden]) .score')].filter((s) => s.textContent).length > 5")
        scores = [float(x) for x in self.page.eval(
            "[...document.querySelectorAll('.cell:not([hidden]):not(.waiting)')].sort((a, b) => a.dataset.index - b.dataset.index).map((c) => c.querySelector('.score').textContent)")]
        assert scores == sorted(scores, reverse=True), scores

    def complete_concept(self):
        self.go("#/browse")
        self.page.click(".words")
        self.page.eval("document.querySelector('.words').focus()")
        self.page.type("do")
        self.page.until("[...document.querySelectorAll('.suggest li')].some((l) => /^conceptdog\\d/.test(l.textContent))", "completion")
        at = self.page.eval("[...document.querySelectorAll('.suggest li')].findIndex((l) => /^conceptdog\\d/.test(l.textContent))")
        for _ in range(at):
            self.page.press("ArrowDown")
        self.page.until(f"document.querySelector('.words').getAttribute('aria-activedescendant') === 's{at}'")
        self.page.press("Enter")
        self.page.until("location.hash === '#/browse?with=dog'")
        self.page.until("document.querySelector('.bar').textContent.includes('highest score first')")
        # a second condition, then it is taken away
        self.page.eval("document.querySelector('.words').focus()")
        self.page.type("-cat")
        self.page.until("[...document.querySelectorAll('.suggest li')].some((l) => l.textContent.startsWith('withoutcat'))")
        self.page.press("Enter")
        self.page.until("document.querySelector('.chip.without')")
        self.page.click(".chip.without button")
        self.page.until("!document.querySelector('.chip.without')")

    def mistake(self):
        self.go("#/browse?with=" + urllib.parse.quote("dog AND"))
        self.page.until("document.querySelector('.notice.bad')")
        assert "expected a concept" in self.page.eval("document.querySelector('.notice.bad').textContent")
        self.page.errors = [e for e in self.page.errors if "400" not in e]

    def keys(self):
        self.go("#/browse")
        self.cells()
        self.page.press("ArrowDown")
        self.page.until("document.activeElement.classList.contains('cell')")
        self.page.press("ArrowRight")
        self.page.until("document.activeElement.dataset.index === '1'")
        self.page.press("End")
        self.page.until(f"document.activeElement.dataset.index === '{IMAGES - 1}' && document.activeElement.href")
        self.page.press("Home")
        self.page.until("document.activeElement.dataset.index === '0' && document.activeElement.href")
        self.page.press("Enter")
        self.page.until("location.hash === '#/image/1'")
        self.page.until("document.querySelectorAll('.scores a').length > 3 && document.querySelectorAll('.strip a').length === 12")
        self.page.press("ArrowRight")
        # The address changes first; keys are the new page's when it is there.
        self.page.until("document.querySelector('.facts dd') && document.querySelector('.facts dd').textContent === '2'")
        self.page.press("s")
        self.page.until("location.hash === '#/browse?like=2'")
        self.cells()
        self.count(f"{IMAGES - 1} images")
        self.page.press("?")
        self.page.until("document.getElementById('help').open")
        self.page.press("Escape")
        self.page.until("!document.getElementById('help').open")
        self.page.press("g")
        self.page.press("c")
        self.page.until("location.hash === '#/concepts' && document.querySelectorAll('tbody tr').length > 5")

    # The list itself is made up, so that the grid's own arithmetic is tried at five millions.
    def five_millions(self):
        self.go("#/stats")
        self.page.until("document.querySelector('svg.plot')")
        self.page.eval("""(async () => {
          const { Grid } = await import('/grid.js');
          const main = document.getElementById('main'), host = document.createElement('div');
          host.className = 'grid'; host.tabIndex = -1;
          const wrap = document.createElement('div'); wrap.className = 'browse'; wrap.append(host); main.replaceChildren(wrap);
          const load = async (offset, limit) => ({ matched: 5000000, order: 'id', images: [...Array(Math.min(limit, 5000000 - offset)).keys()].map((i) => ({ id: offset + i + 1, key: 'k' + (offset + i), caption: null, score: 0 })) });
          window.testGrid = new Grid(host, { load, size: 190, failed: (e) => { window.testError = String(e); }, counted: () => {} });
          testGrid.reset(0, 0);
        })()""")
        shown = "[...document.querySelectorAll('.cell:not([hidden]):not(.waiting)')].map((c) => Number(c.dataset.index))"
        self.page.until(f"{shown}.length > 5")
        self.page.wheel(400, 400, 700)
        self.page.until("testGrid.at > 600 && testGrid.at < 800", "a turn of the wheel moves as far as in a short list")
        self.page.eval("testGrid.go(4999999)")
        self.page.until("document.activeElement.dataset.index === '4999999' && !document.activeElement.classList.contains('waiting')")
        self.page.eval("testGrid.host.scrollTop = testGrid.host.scrollHeight / 2")
        self.page.until(f"{shown}.length > 5 && {shown}.every((i) => i > 2400000 && i < 2600000)", "the bar's middle is the list's middle")
        inside = """[...document.querySelectorAll('.cell:not([hidden])')].filter((c) => { const r = c.getBoundingClientRect(), h = testGrid.host.getBoundingClientRect();
          return r.bottom > h.top && r.top < h.bottom; }).length"""
        assert self.page.eval(inside) > 8, "the screen is full"
        assert self.page.eval("document.querySelectorAll('.cell').length") < 200
        assert not self.page.eval("window.testError")

    def drop(self):
        self.go("#/browse")
        self.cells()
        self.page.eval("""(async () => { const bytes = await (await fetch('/api/pictures/7')).blob();
          dispatchEvent(new CustomEvent('find-like', { detail: new File([bytes], 'mine.jpg', { type: 'image/jpeg' }) })); })()""")
        self.page.until("location.hash.startsWith('#/browse?like=picture-')")
        self.page.until("document.querySelector('.chip.like') && document.querySelector('.chip.like').textContent.includes('mine.jpg')")
        self.cells()
        first = self.page.until("(document.querySelector('.cell[data-index=\"0\"]:not(.waiting)') || {}).href")
        assert first.endswith("#/image/7"), first

    def pages(self):
        self.go("#/concept?text=dog")
        self.page.until("document.querySelectorAll('.strip img').length > 5 && document.querySelectorAll('svg.plot').length === 1 && document.querySelectorAll('tbody tr').length > 3")
        self.go("#/stats")
        self.page.until("document.querySelectorAll('svg.plot').length === 3")
        self.go("#/failures")
        self.page.until("document.querySelectorAll('tbody tr').length === 1 && document.body.textContent.includes('absent.jpg')")
        self.go("#/runs")
        self.page.until("document.querySelectorAll('tbody tr').length === 1 && document.querySelector('path.line')")

    def run_that_grows(self):
        self.go("#/run/first")
        self.page.until("document.querySelector('.tile b') && document.querySelector('.tile b').textContent === '30'")
        before = self.page.eval("document.querySelector('path.line').getAttribute('d').length")
        add_steps(self.site, range(31, 61))
        self.page.until("document.querySelector('.tile b').textContent === '60'", "new steps appear by themselves")
        assert self.page.eval("document.querySelector('path.line').getAttribute('d').length") > before

    def themes_and_contrast(self):
        addresses = ["#/browse?with=dog", "#/image/5", "#/concepts", "#/concept?text=dog", "#/stats", "#/failures", "#/run/first"]
        shots = os.environ.get("VICHA_SCREENSHOTS")
        for dark in (False, True):
            self.page.dark(dark)
            for width, height in ((1280, 800), (390, 800)):
                self.page.size(width, height)
                for address in addresses:
                    self.go(address)
                    self.page.until("document.querySelector('.cell:not(.waiting), .panel')")
                    ratio, where = self.page.eval(CONTRAST)
                    assert ratio >= 4.5, f"contrast {ratio:.2f} at {address} {'dark' if dark else 'light'}: {where}"
                    over = self.page.eval("document.documentElement.scrollWidth - innerWidth")
                    assert over <= 0, f"{address} is {over} pixels wider than {width}"
                    if shots:
                        name = "".join(c if c.isalnum() else "-" for c in address).strip("-")
                        self.page.picture(os.path.join(shots, f"{name}-{'dark' if dark else 'light'}-{width}.png"))
        self.page.size(1280, 800)
        self.page.click("#theme")
        self.page.until("document.documentElement.dataset.theme === 'light'")
        self.page.click("#theme")
        self.page.until("document.documentElement.dataset.theme === 'dark'")


def main():
    program = chromium.find()
    if not program:
        print("SKIP: no Chromium here (VICHA_CHROMIUM may name one)", file=sys.stderr)
        return 77
    make_inputs, make_clip = sys.argv[1:3]
    folder = tempfile.mkdtemp(prefix="vicha-page-")
    server = page = model = None
    failed = 0
    try:
        site, model = make_site(folder, make_inputs, make_clip)
        server = subprocess.Popen([os.environ["VICHA"], "serve", "-q", "-w", site, "--port", "0", "--json"], stdout=subprocess.PIPE, text=True)
        url = json.loads(server.stdout.readline())["url"]
        page = chromium.Page(program)
        page.size(1280, 800)
        flows = Flows(page, url, site, folder)
        for name in ("browse", "search_text", "complete_concept", "mistake", "keys", "five_millions", "drop", "pages",
                     "run_that_grows", "themes_and_contrast"):
            try:
                page.errors.clear()
                getattr(flows, name)()
                # five_millions shows numbers that are not there; an answer of 404 may come during the next flow
                errors = [e for e in page.errors if not re.search(r"404 .*/api/pictures/\d{7}\?", e)]
                assert not errors, f"the page logged errors: {errors}"
                print(f"ok - {name}", flush=True)
            except (AssertionError, TimeoutError, RuntimeError) as error:
                print(f"not ok - {name}: {error}", flush=True)
                failed += 1
        others = {u for u in page.requests if not u.startswith((url, "blob:", "data:", "about:"))}
        if others:
            print(f"not ok - asked others: {others}")
            failed += 1
    finally:
        if page:
            page.close()
        if server:
            server.terminate()
            status = server.wait(20)
            if status != 143:
                print(f"not ok - the server ended with status {status} on SIGTERM")
                failed += 1
        shutil.rmtree(folder, ignore_errors=True)
        if model:
            shutil.rmtree(model, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
