// A trace as a waterfall. Only the rows in sight are elements, so ten thousand spans scroll freely.

import { offline, trace as load } from "./api.js";
import { colours, copier, count, duration, h, named, say, took, when } from "./dom.js";
import { detail } from "./detail.js";
import { minimap } from "./minimap.js";
import { below, modelled, says } from "./model.js";

const SPARE = 12; // rows above and below the sight, so that a fast scroll shows no gap
const DEEPEST = 24; // levels that are indented; what lies deeper stands below one another

export async function traceView(place, { ids, query, signal, go }) {
  const trace = modelled(await load(ids[0], signal));
  if (!trace.spans.length) throw new Error("this trace has no spans");
  const [root] = trace.roots;
  document.title = `${named(root.service, 40)} ${named(root.operation, 60)} · tracekit view`;
  new Waterfall(place, trace, signal, go).open(query.get("span"), query.get("find"));
}

class Waterfall {
  constructor(place, trace, signal, go) {
    Object.assign(this, { place, trace, signal, go, folded: new Set(), matches: [], current: null });
    this.colours = colours(trace.services);
    this.span0 = { start: trace.start, end: Math.max(trace.end, trace.start + 1) };
    this.zoom = { ...this.span0 };
  }

  open(spanId, find) {
    this.build();
    this.relist();
    this.setZoom(this.span0.start, this.span0.end);
    if (find) {
      this.finder.value = find;
      this.find(find);
    }
    const span = this.trace.byId.get(spanId);
    if (span) this.select(span, { open: true });
    else this.mark(this.rows[0]);
    this.tree.focus({ preventScroll: true });
    say(`${count(this.trace.spans.length, "span")}, ${duration(this.trace.end - this.trace.start)}`);
  }

  build() {
    const { trace } = this;
    this.finder = h("input", { type: "search", "data-find": true, placeholder: "Find in this trace", "aria-label": "Find in this trace", oninput: () => this.find(this.finder.value) });
    this.finder.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.step(event.shiftKey ? -1 : 1);
    });
    this.found = h("output", { class: "quiet" });
    this.map = minimap(trace, this.colours, (start, end) => this.setZoom(start, end));
    this.ruler = h("div", { class: "ruler", "aria-hidden": "true" });
    this.space = h("div", { class: "space", role: "none" });
    this.tree = h("div", { class: "tree", role: "tree", tabindex: 0, "aria-label": "Spans" }, this.space);
    this.aside = h("aside", { class: "detail", "aria-label": "Details of a span", hidden: true, tabindex: 0 });
    this.place.append(h("article", { class: "trace" }, this.head(),
      h("div", { class: "tools" }, this.finder, this.button("↑", "Previous match (N)", () => this.step(-1)), this.button("↓", "Next match (n)", () => this.step(1)), this.found,
        h("span", { class: "gap" }),
        trace.errors ? h("button", { type: "button", class: "error", title: "Next error (e)", onclick: () => this.nextError() }, `✗ ${count(trace.errors, "error")}`) : null,
        this.button("−", "Zoom out", () => this.zoomBy(2)), this.button("+", "Zoom in", () => this.zoomBy(0.5)), this.button("All", "See all (0)", () => this.setZoom(this.span0.start, this.span0.end)),
        this.button("Fold", "Fold all but the first spans", () => this.foldAll())),
      this.map.element,
      h("div", { class: "body" }, h("div", { class: "chart" }, this.ruler, this.tree), this.aside)));
    this.listen();
  }

  head() {
    const { trace } = this;
    const [root] = trace.roots;
    const link = (format, text) => h("a", { href: `/view/export?traceID=${trace.id}&format=${format}`, download: `${trace.id}.${format}` }, text);
    return h("header", { class: "title" },
      h("h1", {}, h("bdi", {}, named(root.service, 60)), " ", h("span", {}, h("bdi", {}, named(root.operation, 160)))),
      h("p", { class: "facts" },
        h("b", {}, duration(trace.end - trace.start)), h("span", {}, when(trace.start)), h("span", {}, count(trace.spans.length, "span")),
        h("span", {}, count(trace.services.length, "service")), h("span", {}, `depth ${trace.depth}`),
        h("span", {}, h("code", {}, trace.id), copier(trace.id, "the trace id")),
        !offline && h("span", { class: "exports" }, "Save as ", link("html", "page"), " ", link("json", "JSON"), " ", link("perfetto.json", "Perfetto"))),
      this.gaps(),
      h("p", { class: "legend" }, h("span", { class: "critical" }, h("i", {}), "critical path"), [...this.colours].slice(0, 24).map(([service, colour]) => h("span", { class: `c${colour}` }, h("i", {}), h("bdi", {}, named(service, 40))))));
  }

  /** Say what is missing. A lone root below a span that did not come is what any mesh makes. */
  gaps() {
    const { roots, spans } = this.trace;
    const orphans = spans.filter((span) => span.orphan).length;
    if (roots.length === 1) return orphans ? h("p", { class: "quiet" }, "Its caller's span has not arrived: a proxy's, unsampled, or still on its way.") : null;
    return h("p", { class: "note" }, orphans
      ? `${count(orphans, "span")} ${orphans === 1 ? "names" : "name"} a parent that has not arrived: lost, unsampled, or still on its way.`
      : `This trace has ${count(roots.length, "root")}.`);
  }

  button(text, title, onclick) {
    return h("button", { type: "button", title, "aria-label": title, onclick }, text);
  }

  listen() {
    let waiting = false;
    this.tree.addEventListener("scroll", () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; this.draw(); });
    }, { passive: true });
    this.tree.addEventListener("click", (event) => this.onClick(event));
    this.tree.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    document.addEventListener("keydown", (event) => this.onKey(event), { signal: this.signal });
    document.addEventListener("theme", () => this.map.draw(this.zoom), { signal: this.signal });
    const resized = new ResizeObserver(() => { this.map.draw(this.zoom); this.draw(true); });
    resized.observe(this.tree);
    this.signal.addEventListener("abort", () => resized.disconnect());
  }

  /** List the rows that no folded span hides. */
  relist() {
    this.rows = [];
    let hiddenBelow = Infinity;
    for (const span of this.trace.spans) {
      if (span.depth > hiddenBelow) continue;
      hiddenBelow = this.folded.has(span) ? span.depth : Infinity;
      span.row = this.rows.length;
      this.rows.push(span);
    }
    this.height = Number.parseFloat(getComputedStyle(this.tree).getPropertyValue("--row")) || 26;
    this.space.style.setProperty("height", `${this.rows.length * this.height}px`);
    this.draw(true);
  }

  /** Make the rows in sight; `all` when those that are there already have changed. */
  draw(all = false) {
    const first = Math.max(0, Math.floor(this.tree.scrollTop / this.height) - SPARE);
    const last = Math.min(this.rows.length, Math.ceil((this.tree.scrollTop + this.tree.clientHeight) / this.height) + SPARE);
    if (all || !this.made) {
      this.made = new Map();
      this.space.replaceChildren();
    }
    for (const [index, row] of this.made) {
      if (index >= first && index < last) continue;
      row.remove();
      this.made.delete(index);
    }
    const fresh = [];
    for (let index = first; index < last; index++) {
      if (this.made.has(index)) continue;
      const row = this.row(this.rows[index], index);
      this.made.set(index, row);
      fresh.push(row);
    }
    this.space.append(...fresh);
    this.markActive();
  }

  markActive() {
    for (const row of this.made?.values() ?? []) {
      const active = row.id === `row-${this.current?.row}`;
      row.classList.toggle("marked", active);
      row.setAttribute("aria-selected", String(active));
    }
    if (this.current) this.tree.setAttribute("aria-activedescendant", `row-${this.current.row}`);
  }

  row(span, index) {
    const colour = this.colours.get(span.service);
    const open = span.children.length ? String(!this.folded.has(span)) : null;
    const row = h("div", {
      class: `row c${colour}${span.error ? " failed" : ""}${this.hits?.has(span) ? " hit" : ""}`, role: "treeitem", id: `row-${index}`, "data-row": index,
      "aria-level": span.depth + 1, "aria-expanded": open, "aria-setsize": this.rows.length, "aria-posinset": index + 1, "aria-selected": "false",
      style: { top: `${index * this.height}px` },
    },
      h("div", { class: "label", style: { "padding-left": this.indent(span) } },
        h("span", { class: "fold", "aria-hidden": "true" }, open === null ? "" : open === "true" ? "▾" : "▸"),
        h("i", { class: "dot" }),
        span.error && h("span", { class: "cross" }, "✗"),
        h("bdi", { class: "service" }, named(span.service, 40)), " ", h("bdi", { class: "operation" }, named(span.operation, 120)),
        this.folded.has(span) && h("span", { class: "quiet" }, ` +${below(span)}`), " "),
      h("div", { class: "lane" }, this.bar(span)));
    return row;
  }

  /** Narrow the steps of a deep trace, so that the names keep half of the column. */
  indent(span) {
    const steps = Math.min(this.trace.depth, DEEPEST);
    return `calc(4px + ${Math.min(span.depth, DEEPEST)} * min(14px, var(--indent) / ${steps}))`;
  }

  bar(span) {
    const { start, end } = this.zoom;
    const share = (us) => (100 * (us - start)) / (end - start);
    if (span.end < start || span.start > end) {
      return h("span", { class: `away ${span.end < start ? "left" : "right"}` }, span.end < start ? "◂" : "▸");
    }
    const [from, to] = [Math.max(0, share(span.start)), Math.min(100, share(span.end))];
    const bar = h("div", { class: "bar", style: { left: `min(${from}%, 100% - 2px)`, width: `${Math.max(to - from, 0)}%` } });
    const parts = [bar];
    for (const [since, until] of span.critical) {
      const [a, b] = [Math.max(0, share(since)), Math.min(100, share(until))];
      if (b > a) parts.push(h("div", { class: "path", style: { left: `${a}%`, width: `${b - a}%` } }));
    }
    for (const log of span.logs.slice(0, 50)) {
      const at = share(log.time);
      if (at >= 0 && at <= 100) parts.push(h("div", { class: "log", style: { left: `${at}%` } }));
    }
    const side = to < 80 ? { left: `calc(${to}% + 6px)` } : from > 20 ? { right: `calc(${100 - from}% + 6px)` } : { left: `calc(${from}% + 6px)` };
    parts.push(h("span", { class: `took${to >= 80 && from <= 20 ? " inside" : ""}`, style: side }, took(span)));
    return parts;
  }

  setZoom(start, end) {
    const whole = this.span0;
    const least = Math.max(1, (whole.end - whole.start) / 1e6);
    const width = Math.min(Math.max(end - start, least), whole.end - whole.start);
    const from = Math.min(Math.max(start, whole.start), whole.end - width);
    this.zoom = { start: from, end: from + width };
    this.ruler.replaceChildren(...[0, 0.25, 0.5, 0.75, 1].map((at) => h("span", { style: { left: `${at * 100}%` } }, duration(from - whole.start + at * width))));
    this.map.draw(this.zoom);
    this.draw(true);
  }

  zoomBy(factor, at = 0.5) {
    const { start, end } = this.zoom;
    const point = start + at * (end - start);
    this.setZoom(point - at * (end - start) * factor, point + (1 - at) * (end - start) * factor);
  }

  shift(share) {
    const { start, end } = this.zoom;
    this.setZoom(start + share * (end - start), end + share * (end - start));
  }

  find(text) {
    const wanted = text.trim().toLowerCase();
    this.matches = wanted ? this.trace.spans.filter((span) => says(span, wanted)) : [];
    this.hits = wanted ? new Set(this.matches) : null;
    this.tree.classList.toggle("finding", Boolean(wanted));
    this.found.textContent = wanted ? count(this.matches.length, "match").replace("matchs", "matches") : "";
    this.draw(true);
    if (this.matches.length) this.mark(this.matches[0]);
  }

  step(by) {
    this.toNext(this.matches, by);
  }

  nextError() {
    this.toNext(this.trace.spans.filter((span) => span.error), 1);
  }

  toNext(spans, by) {
    if (!spans.length) return;
    const at = spans.indexOf(this.current);
    const next = at < 0 ? spans[by > 0 ? 0 : spans.length - 1] : spans[(at + by + spans.length) % spans.length];
    this.select(next, { open: !this.aside.hidden });
  }

  /** Mark a span, unfolding what hides it, and bring it into sight. */
  select(span, { open = true } = {}) {
    let unfolded = false;
    for (let up = span.parent; up; up = up.parent) unfolded = this.folded.delete(up) || unfolded;
    if (unfolded) this.relist();
    this.mark(span);
    if (open) this.showDetail(span);
  }

  mark(span) {
    this.current = span;
    this.reveal();
    this.draw();
    if (!this.aside.hidden) this.showDetail(span);
  }

  /** Scroll as little as brings the marked row into sight. */
  reveal() {
    const top = this.current.row * this.height;
    if (top < this.tree.scrollTop) this.tree.scrollTop = top;
    else if (top + this.height > this.tree.scrollTop + this.tree.clientHeight) this.tree.scrollTop = top + this.height - this.tree.clientHeight;
  }

  showDetail(span) {
    this.aside.hidden = false;
    this.aside.replaceChildren(detail(span, this.trace, this.colours, { close: () => this.close(), select: (other) => this.select(other) }));
    this.aside.scrollTop = 0;
    this.reveal(); // on a narrow screen the details have just taken its place
    this.go(`/trace/${this.trace.id}?span=${span.id}`, { replace: true, render: false });
  }

  close() {
    this.aside.hidden = true;
    this.tree.focus();
    this.go(`/trace/${this.trace.id}`, { replace: true, render: false });
  }

  fold(span, folded) {
    if (!span.children.length) return;
    if (folded) this.folded.add(span);
    else this.folded.delete(span);
    this.relist();
  }

  foldAll() {
    const some = this.folded.size > 0;
    this.folded = new Set(some ? [] : this.trace.spans.filter((span) => span.depth >= 1 && span.children.length));
    this.tree.scrollTop = 0;
    this.relist();
    this.mark(this.rows[0]);
  }

  onClick(event) {
    const row = event.target.closest(".row");
    if (!row) return;
    const span = this.rows[Number(row.dataset.row)];
    if (event.target.closest(".fold") && span.children.length) {
      this.fold(span, !this.folded.has(span));
      this.mark(span);
    } else this.select(span);
  }

  onWheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const lane = this.ruler.getBoundingClientRect();
    this.zoomBy(event.deltaY > 0 ? 1.25 : 0.8, Math.min(1, Math.max(0, (event.clientX - lane.left) / lane.width)));
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
    const anywhere = {
      n: () => this.step(1), N: () => this.step(-1), e: () => this.nextError(), "+": () => this.zoomBy(0.5), "=": () => this.zoomBy(0.5), "-": () => this.zoomBy(2),
      0: () => this.setZoom(this.span0.start, this.span0.end), "[": () => this.shift(-0.25), "]": () => this.shift(0.25), Escape: () => this.close(),
    };
    const act = anywhere[event.key] ?? (this.tree.contains(document.activeElement) ? this.moves()[event.key] : null);
    if (!act) return;
    event.preventDefault();
    act();
  }

  moves() {
    const span = this.current;
    const at = span.row;
    const to = (row) => this.mark(this.rows[Math.min(this.rows.length - 1, Math.max(0, row))]);
    const page = Math.max(1, Math.floor(this.tree.clientHeight / this.height) - 1);
    const out = () => (span.children.length && !this.folded.has(span) ? this.fold(span, true) : span.parent && this.mark(span.parent));
    const into = () => (this.folded.has(span) ? this.fold(span, false) : span.children.length && this.mark(span.children[0]));
    return {
      ArrowDown: () => to(at + 1), ArrowUp: () => to(at - 1), Home: () => to(0), End: () => to(this.rows.length), PageDown: () => to(at + page), PageUp: () => to(at - page),
      ArrowLeft: out, ArrowRight: into, Enter: () => this.select(span), " ": () => this.select(span),
    };
  }
}
