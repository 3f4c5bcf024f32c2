// The traces that are held: a form, a scatter of durations over time, a list that can follow.

import { offline, operations, search, services, state } from "./api.js";
import { colours, count, duration, h, named, say, shown, when } from "./dom.js";
import { scatter } from "./scatter.js";
import { listens } from "./status.js";

const BACK = [["", "everything held"], ["300", "last 5 minutes"], ["3600", "last hour"], ["21600", "last 6 hours"], ["172800", "last 2 days"]];
const LIMITS = ["100", "500", "2000", "10000"];
const SORTS = [["newest", "newest first"], ["longest", "longest first"], ["spans", "most spans"], ["errors", "most errors"]];
const ORDER = {
  newest: (a, b) => b.startTime - a.startTime,
  longest: (a, b) => b.duration - a.duration,
  spans: (a, b) => b.spans - a.spans,
  errors: (a, b) => b.errors - a.errors,
};
const PAGE = 100; // rows that are made at once: more come when the end is reached
const FOLLOW_MS = 1000;

let focused = null; // the field that a search was begun in: there somebody goes on

export async function searchView(place, { query, signal, go }) {
  const view = new Search(place, query, signal, go);
  await view.start();
}

class Search {
  constructor(place, query, signal, go) {
    Object.assign(this, { place, query, signal, go, rows: [], chosen: new Set(), version: -1 });
  }

  async start() {
    const [names, operationNames] = await Promise.all([services(), operations(this.query.get("service"))]);
    this.form = this.makeForm(names, operationNames);
    this.summary = h("p", { class: "summary" });
    this.plot = h("div", { class: "scatter" });
    this.list = h("ol", { class: "traces", "aria-label": "Traces" });
    this.more = h("button", { type: "button", class: "more", onclick: () => this.extend() }, "More");
    this.compare = h("button", { type: "button", disabled: true, onclick: () => this.go(`/trace/${[...this.chosen].join("...")}`) }, "Compare");
    this.place.append(
      h("h1", { class: "hidden-text" }, "Traces"),
      h("div", { class: "search" }, !offline && this.folding(), h("section", { class: "found", "aria-label": "Results" },
        h("div", { class: "tools" }, this.summary, h("span", { class: "gap" }), this.sorter(), this.compare), this.plot, this.list, this.more)),
    );
    document.addEventListener("theme", () => this.draw(), { signal: this.signal });
    addEventListener("resize", () => this.draw(), { signal: this.signal });
    new IntersectionObserver((seen) => seen[0].isIntersecting && this.extend()).observe(this.more);
    this.list.addEventListener("keydown", (event) => this.onKey(event));
    if (focused) this.form.elements[focused]?.focus({ preventScroll: true });
    focused = null;
    await this.find();
    if (this.query.get("live")) this.follow();
  }

  /** Where there is little room, the form opens when it is asked for. */
  folding() {
    const narrow = matchMedia("(max-width: 640px)");
    const box = h("details", { class: "filter", open: !narrow.matches }, h("summary", {}, "Search"), this.form);
    narrow.addEventListener("change", () => (box.open = !narrow.matches), { signal: this.signal });
    return box;
  }

  sorter() {
    const sort = this.query.get("sort") ?? "newest";
    return h("select", { "aria-label": "Order", onchange: (event) => { this.change("sort", event.target.value); this.fill(); } },
      SORTS.map(([value, text]) => h("option", { value, selected: value === sort }, text)));
  }

  change(name, value) {
    if (value) this.query.set(name, value);
    else this.query.delete(name);
    this.go(`/search?${this.query}`, { replace: true, render: false });
  }

  makeForm(names, operationNames) {
    const value = (name) => this.query.get(name) ?? "";
    const field = (label, control, hint) => h("label", {}, h("span", {}, label), control, hint && h("small", {}, hint));
    const options = (given, chosen) => given.map(([key, text]) => h("option", { value: key, selected: key === chosen }, text));
    const text = (name, placeholder, extra) => h("input", { name, value: value(name), placeholder, autocomplete: "off", spellcheck: "false", ...extra });
    const form = h("form", { class: "query", role: "search", "aria-label": "Search for traces" },
      field("Service", h("select", { name: "service", "data-find": true }, options([["", "all"], ...names.map((n) => [n, named(n, 60)])], value("service")))),
      field("Operation", h("select", { name: "operation", disabled: !value("service") }, options([["", "all"], ...operationNames.map((n) => [n, named(n, 80)])], value("operation")))),
      field("Tags", text("tags", 'http.status_code=500 peer="a b"')),
      h("div", { class: "pair" }, field("Longer than", text("minDuration", "100ms")), field("Shorter than", text("maxDuration", "2s"))),
      h("div", { class: "pair" }, field("When", h("select", { name: "back" }, options(BACK, value("back")))), field("At most", h("select", { name: "limit" }, options(LIMITS.map((n) => [n, n]), value("limit"))))),
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "error", value: "1", checked: Boolean(value("error")) }), "With errors only"),
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "live", value: "1", checked: Boolean(value("live")) }), "Follow what comes"),
      h("button", { class: "primary" }, "Find traces"),
      h("div", { class: "jump" }, field("Trace id", text("id", "hexadecimal", { maxlength: 40 }))),
    );
    form.addEventListener("submit", (event) => { event.preventDefault(); this.submit(form); });
    form.elements.service.addEventListener("change", () => { form.elements.operation.value = ""; this.submit(form); });
    for (const name of ["operation", "back", "limit", "error", "live"]) form.elements[name].addEventListener("change", () => this.submit(form));
    return form;
  }

  submit(form) {
    const fields = new FormData(form);
    const id = fields.get("id")?.trim();
    if (/^[0-9a-fA-F]{1,32}$/.test(id ?? "")) {
      this.go(`/trace/${id}`);
      return;
    }
    const query = new URLSearchParams();
    for (const [name, value] of fields) if (value && name !== "id" && !(name === "limit" && value === "100")) query.set(name, value);
    if (this.query.get("sort")) query.set("sort", this.query.get("sort"));
    focused = form.contains(document.activeElement) ? document.activeElement.name || null : null;
    this.go(`/search?${query}`);
  }

  /** Return the search in the words of Jaeger's API. */
  asked() {
    const get = (name) => this.query.get(name) ?? "";
    const asked = new URLSearchParams({ limit: get("limit") || "100", end: "9000000000000000000" });
    for (const name of ["service", "operation", "minDuration", "maxDuration"]) if (get(name)) asked.set(name, get(name).trim());
    asked.set("start", get("back") ? String(Math.round((Date.now() - Number(get("back")) * 1000) * 1000)) : "-9000000000000000000");
    const tags = parseTags(get("tags"));
    if (get("error")) tags.error = "true";
    if (Object.keys(tags).length) asked.set("tags", JSON.stringify(tags));
    return asked;
  }

  async find() {
    const answer = await search(this.asked(), this.signal);
    this.version = answer.version;
    this.rows = answer.traces;
    this.colours = colours(this.rows.map((row) => row.service));
    if (!this.rows.length && !offline) await this.explain();
    this.fill();
    say(count(this.rows.length, "trace"));
  }

  /** Ask again whenever something has come. */
  follow() {
    const again = async () => {
      if (this.signal.aborted) return;
      try {
        if (!document.hidden && (await state(this.signal)).version !== this.version) await this.find();
      } catch (error) {
        if (!this.signal.aborted) this.summary.textContent = error.message;
      }
      this.timer = setTimeout(again, FOLLOW_MS);
    };
    this.timer = setTimeout(again, FOLLOW_MS);
    this.signal.addEventListener("abort", () => clearTimeout(this.timer));
  }

  async explain() {
    const now = await state(this.signal);
    this.why = now.spans
      ? [h("h2", {}, "No trace matches"), h("p", {}, `${count(now.spans, "span")} are held. `, h("a", { href: "/search" }, "Show everything"))]
      : listens(now);
  }

  fill() {
    this.rows.sort(ORDER[this.query.get("sort") ?? "newest"] ?? ORDER.newest);
    const failed = this.rows.filter((row) => row.errors).length;
    const live = this.query.get("live") ? " · following" : "";
    const cut = !offline && this.rows.length >= Number(this.query.get("limit") ?? 100) ? ", the newest that match" : "";
    this.summary.textContent = `${count(this.rows.length, "trace")}${failed ? `, ${failed.toLocaleString("en")} with errors` : ""}${cut}${live}`;
    const focused = this.list.contains(document.activeElement) ? document.activeElement.closest("li")?.dataset.id : null;
    const wanted = Math.max(PAGE, Math.min(this.list.children.length, this.rows.length));
    this.longest = this.rows.reduce((most, row) => Math.max(most, row.duration), 1);
    this.list.replaceChildren();
    this.plot.hidden = !this.rows.length;
    if (this.rows.length) {
      this.extend(wanted);
      this.draw();
    } else {
      this.more.hidden = true;
      this.list.after(this.whyBox ??= h("div", { class: "empty" }));
    }
    this.whyBox?.replaceChildren(...(this.rows.length ? [] : this.why ?? []));
    if (this.whyBox) this.whyBox.hidden = this.rows.length > 0;
    if (focused) [...this.list.children].find((each) => each.dataset.id === focused)?.querySelector("a").focus();
  }

  extend(size = PAGE) {
    const from = this.list.children.length;
    this.list.append(...this.rows.slice(from, from + size).map((row) => this.row(row)));
    this.more.hidden = this.list.children.length >= this.rows.length;
  }

  row(row) {
    const share = Math.max(0.4, (100 * row.duration) / this.longest);
    const others = Object.entries(row.services).sort((a, b) => b[1] - a[1]);
    const box = h("input", { type: "checkbox", "aria-label": `Compare ${named(row.operation, 60)} ${row.traceID.slice(-7)}`, checked: this.chosen.has(row.traceID) });
    box.addEventListener("change", () => this.choose(row.traceID, box));
    return h("li", { "data-id": row.traceID, class: row.errors ? "failed" : null }, box,
      h("a", { href: `/trace/${row.traceID}` },
        h("span", { class: "name" }, h("b", {}, h("bdi", {}, named(row.service, 60))), " ", h("bdi", {}, named(row.operation, 160))),
        h("span", { class: "time" }, duration(row.duration)),
        h("span", { class: `share c${this.colours.get(row.service)}` }, h("i", { style: { width: `${share}%` } })),
        h("span", { class: "facts" },
          h("span", {}, when(row.startTime)), h("span", {}, count(row.spans, "span")),
          row.errors ? h("span", { class: "error" }, `✗ ${count(row.errors, "error")}`) : null,
          h("code", {}, row.traceID.slice(-16)),
          h("span", { class: "services" }, others.slice(0, 6).map(([name, spans]) => h("bdi", {}, `${named(name, 30)} ${spans}`)), others.length > 6 ? `+${others.length - 6}` : null))));
  }

  choose(id, box) {
    if (box.checked) this.chosen.add(id);
    else this.chosen.delete(id);
    if (this.chosen.size > 2) {
      const [first] = this.chosen;
      this.chosen.delete(first);
      const other = [...this.list.children].find((each) => each.dataset.id === first);
      if (other) other.querySelector("input").checked = false;
    }
    this.compare.disabled = this.chosen.size !== 2;
    this.compare.textContent = this.chosen.size === 1 ? "Compare: one more" : "Compare";
  }

  draw() {
    if (this.rows.length) scatter(this.plot, this.rows, (row) => this.go(`/trace/${row.traceID}`));
  }

  onKey(event) {
    const row = event.target.closest("li");
    const next = { ArrowDown: row?.nextElementSibling, ArrowUp: row?.previousElementSibling, Home: this.list.firstElementChild, End: this.list.lastElementChild }[event.key];
    if (!next) return;
    event.preventDefault();
    next.querySelector("a").focus();
  }
}

/** Return the tags that a text names: `key=value key="a value"`. */
export function parseTags(text) {
  const tags = {};
  for (const [, key, quoted, plain] of text.matchAll(/([^\s=]+)=(?:"([^"]*)"|(\S*))/g)) tags[key] = quoted ?? plain;
  const rest = text.replace(/([^\s=]+)=(?:"([^"]*)"|(\S*))/g, "").trim();
  if (rest) throw new Error(`Tags are KEY=VALUE, with quotes around a value with spaces; not: ${shown(rest)}`);
  return tags;
}
