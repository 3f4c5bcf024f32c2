// Everything that is known of one span.

import { offline } from "./api.js";
import { copier, count, duration, h, lines, named, shown, took, when } from "./dom.js";
import { selfTime } from "./model.js";

const LONG = 300; // characters of a value that are shown before somebody asks for the rest
const MANY = 200; // events that are listed before somebody asks for the rest

/** Return the panel of a span; `close()` and `select(span)` are what its buttons do. */
export function detail(span, trace, colours, { close, select }) {
  const part = (title, ...content) => h("section", {}, h("h3", {}, title), ...content);
  const fact = (name, ...value) => [h("dt", {}, name), h("dd", {}, ...value)];
  const critical = span.critical.reduce((sum, [from, to]) => sum + to - from, 0);
  return h("div", {},
    h("header", {},
      h("h2", { class: `c${colours.get(span.service)}` }, h("i", { class: "dot" }), h("bdi", {}, named(span.service, 120)), h("bdi", { class: "operation" }, named(span.operation, 400))),
      h("button", { type: "button", onclick: close, "aria-label": "Close (Esc)", title: "Close (Esc)" }, "×")),
    h("dl", { class: "facts" },
      fact("Duration", took(span)), fact("Own time", duration(selfTime(span))), critical > 0 && fact("On the critical path", duration(critical)),
      fact("Starts at", `+${duration(span.start - trace.start)}`, h("span", { class: "quiet" }, ` ${when(span.start)}`)),
      span.kind && fact("Kind", shown(span.kind, 40)),
      fact("Span id", h("code", {}, span.id), copier(span.id, "the span id")), fact("Trace id", h("code", {}, trace.id), copier(trace.id, "the trace id")),
      span.parent && fact("Parent", other(span.parent, select))),
    span.duration < 0 && part("Warnings", h("ul", { class: "warnings" }, h("li", {}, "It ends before it starts."))),
    span.warnings.length > 0 && part("Warnings", h("ul", { class: "warnings" }, span.warnings.map((each) => h("li", {}, lines(each).slice(0, 2000))))),
    part(`Tags ${span.tags.length}`, pairs(span.tags)),
    span.logs.length > 0 && part(`Events ${span.logs.length}`, events(span.logs, trace)),
    (span.links.length > 0 || span.linkedBy.length > 0) && part("Links", h("ul", { class: "links" }, span.links.slice(0, MANY).map((ref) => h("li", {}, link(ref, trace, select))), span.linkedBy.map((from) => h("li", {}, "from ", other(from, select))))),
    span.children.length > 0 && part(`Children ${span.children.length}`, h("ul", { class: "links" }, span.children.slice(0, 50).map((child) => h("li", {}, other(child, select), h("span", { class: "quiet" }, ` ${took(child)}`))), span.children.length > 50 && h("li", { class: "quiet" }, `and ${count(span.children.length - 50, "more")}`.replace("mores", "more")))),
    part("Process", pairs(span.processTags)));
}

function other(span, select) {
  return h("button", { type: "button", class: "link", onclick: () => select(span) }, h("bdi", {}, named(span.service, 40)), " ", h("bdi", {}, named(span.operation, 80)));
}

function link(reference, trace, select) {
  const kind = reference.refType === "FOLLOWS_FROM" ? "follows " : "child of ";
  const here = reference.traceID === trace.id && trace.byId.get(reference.spanID);
  if (here) return [kind, other(here, select)];
  const name = h("code", {}, `${reference.traceID} ${reference.spanID}`);
  return [kind, offline ? name : h("a", { href: `/trace/${encodeURIComponent(reference.traceID)}?span=${encodeURIComponent(reference.spanID)}` }, name)];
}

function pairs(tags) {
  if (!tags.length) return h("p", { class: "quiet" }, "none");
  return h("table", { class: "tags" }, h("tbody", {}, tags.map((tag) => h("tr", { class: tag.key === "error" && String(tag.value) === "true" ? "failed" : null }, h("th", { scope: "row" }, h("bdi", {}, named(tag.key, 200))), h("td", {}, value(tag))))));
}

function value(tag) {
  const text = lines(tag.value);
  const box = h("span", { class: `value ${["string", "bool", "int64", "float64", "binary"].includes(tag.type) ? tag.type : ""}`, title: tag.type === "binary" ? "binary, as base64" : null }, text.length > LONG ? `${text.slice(0, LONG)}…` : text || "“”");
  if (text.length <= LONG) return box;
  const all = h("button", { type: "button", class: "link", onclick: () => { box.textContent = text; all.remove(); } }, `all ${text.length.toLocaleString("en")} characters`);
  return [box, " ", all];
}

function events(logs, trace) {
  const list = h("ol", { class: "events" });
  const add = (some) => list.append(...some.map((log) => {
    const name = log.fields.find((field) => field.key === "event" || field.key === "message");
    return h("li", {}, h("p", {}, h("time", {}, `+${duration(log.time - trace.start)}`), " ", name && h("b", {}, shown(name.value, 120))), pairs(log.fields));
  }));
  add(logs.slice(0, MANY));
  if (logs.length <= MANY) return list;
  const more = h("button", { type: "button", class: "link", onclick: () => { add(logs.slice(MANY)); more.remove(); } }, `all ${count(logs.length, "event")}`);
  return [list, more];
}
