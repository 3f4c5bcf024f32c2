// Who calls whom, how often, how long, and how much of it fails.

import { graph } from "./api.js";
import { colours, count, duration, h, named, s } from "./dom.js";

const BOX = { width: 210, height: 78, across: 130, down: 24 };
const MOST = 60; // services in the picture; the tables have all of them

export async function graphView(place, { signal }) {
  const { services, calls, seconds } = await graph(signal);
  const rate = (number) => (seconds > 0 ? `${Number((number / seconds).toPrecision(3)).toLocaleString("en")}/s` : "");
  place.append(h("article", { class: "graph" }, h("h1", {}, "Services"),
    services.length
      ? [h("p", { class: "quiet" }, `From the traces held${seconds > 0 ? `, which span ${duration(seconds * 1e6)}` : ""}. A rate counts requests: server and consumer spans, and roots.`), picture(services.slice(0, MOST), calls, rate), tables(services, calls, rate)]
      : h("div", { class: "empty" }, h("h2", {}, "No trace yet"), h("p", {}, h("a", { href: "/search" }, "Where to send them")))));
}

const failed = (it) => (it.count ? (100 * it.errors) / it.count : 0);
const percent = (share) => (share ? `${Number(share.toPrecision(2))} %` : "0 %");

/** Return the column of each service: right of all who call it, as far as calls make no ring. */
function columns(services, calls) {
  const column = new Map(services.map((each) => [each.name, 0]));
  const known = calls.filter((call) => column.has(call.from) && column.has(call.to) && call.from !== call.to);
  const called = new Set(known.map((call) => call.to));
  const reached = new Set();
  const visit = (name, depth, above) => {
    if (above.has(name) || (reached.has(name) && column.get(name) >= depth)) return;
    reached.add(name);
    column.set(name, depth);
    const chain = new Set(above).add(name);
    for (const call of known) if (call.from === name && depth < 12) visit(call.to, depth + 1, chain);
  };
  for (const each of services) if (!called.has(each.name)) visit(each.name, 0, new Set());
  for (const each of services) if (!reached.has(each.name)) visit(each.name, 0, new Set());
  return column;
}

function picture(services, calls, rate) {
  const column = columns(services, calls);
  const rows = new Map();
  const at = new Map();
  for (const each of services) {
    const x = column.get(each.name);
    const y = rows.get(x) ?? 0;
    rows.set(x, y + 1);
    at.set(each.name, { x, y });
  }
  const tallest = Math.max(...rows.values());
  const place = ({ x, y }) => ({ left: 20 + x * (BOX.width + BOX.across), top: 16 + (y + (tallest - rows.get(x)) / 2) * (BOX.height + BOX.down) });
  const width = 40 + (Math.max(...rows.keys()) + 1) * (BOX.width + BOX.across) - BOX.across;
  const height = 32 + tallest * (BOX.height + BOX.down) - BOX.down + 16;
  const shade = colours(services.map((each) => each.name));
  const busiest = Math.max(1, ...calls.map((call) => call.count));
  const free = placing();
  const arrows = calls.filter((call) => at.has(call.from) && at.has(call.to)).map((call) => arrow(call, place(at.get(call.from)), place(at.get(call.to)), busiest, free));
  const boxes = services.map((each) => box(each, place(at.get(each.name)), shade.get(each.name), rate));
  return h("div", { class: "picture", tabindex: 0, role: "group", "aria-label": "The service graph" },
    s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": `${count(services.length, "service")} and ${count(calls.length, "connection")}; the tables below say the same` },
      s("defs", {}, s("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse", orient: "auto" }, s("path", { d: "M0 0L8 4L0 8z", class: "arrowhead" }))),
      arrows, boxes));
}

/** Return a function that says whether a label fits: one on another is no longer to be read. */
function placing() {
  const taken = [];
  return (x, y, text) => {
    const half = text.length * 3.5 + 4;
    if (taken.some((other) => Math.abs(other.x - x) < other.half + half && Math.abs(other.y - y) < 14)) return false;
    taken.push({ x, y, half });
    return true;
  };
}

function arrow(call, from, to, busiest, free) {
  const [x1, y1] = [from.left + BOX.width, from.top + BOX.height / 2];
  const [x2, y2] = [to.left, to.top + BOX.height / 2];
  const back = x2 <= x1;
  const bend = back ? 60 : (x2 - x1) / 2;
  const low = Math.max(from.top, to.top) + BOX.height + 22;
  const d = back ? `M${x1} ${y1}C${x1 + bend} ${low} ${x2 - bend} ${low} ${x2} ${y2}` : `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
  const [x, y] = [(x1 + x2) / 2, (back ? low - 8 : (y1 + y2) / 2) - 6];
  const label = `${call.count.toLocaleString("en")}${call.errors ? ` · ✗ ${percent(failed(call))}` : ""}`;
  return s("g", { class: `call${call.errors ? " failed" : ""}` }, s("title", {}, `${named(call.from, 60)} → ${named(call.to, 60)}: ${count(call.count, "call")}, ${percent(failed(call))} failed, p95 ${duration(call.p95)}`),
    s("path", { d, "stroke-width": 1 + 4 * (call.count / busiest), "marker-end": "url(#tip)" }),
    free(x, y, label) && s("text", { x, y }, label));
}

function box(service, { left, top }, colour, rate) {
  return s("a", { href: `/search?service=${encodeURIComponent(service.name)}` }, s("g", { class: `service c${colour}${service.errors ? " failed" : ""}`, transform: `translate(${left} ${top})` },
    s("title", {}, `Traces of ${named(service.name, 100)}`),
    s("rect", { width: BOX.width, height: BOX.height, rx: 8 }), s("rect", { class: "side", width: 6, height: BOX.height, rx: 3 }),
    s("svg", { width: BOX.width - 6, height: 34 }, s("text", { x: 18, y: 24, class: "name" }, named(service.name, 20))),
    s("text", { x: 18, y: 45 }, `${rate(service.count) || count(service.count, "request")} · p95 ${duration(service.p95)}`),
    s("text", { x: 18, y: 64, class: service.errors ? "bad" : null }, service.errors ? `✗ ${percent(failed(service))} failed` : "no error")));
}

function tables(services, calls, rate) {
  const cells = (it) => [it.count.toLocaleString("en"), rate(it.count), h("span", { class: it.errors ? "error" : null }, percent(failed(it))), duration(it.p50), duration(it.p95)].map((each) => h("td", {}, each));
  const head = (...names) => h("thead", {}, h("tr", {}, [...names, "Requests", "Rate", "Failed", "Median", "p95"].map((each) => h("th", { scope: "col" }, each))));
  return h("div", { class: "tables" },
    h("section", {}, h("h2", {}, "Services"), h("table", {}, head("Service"), h("tbody", {}, services.map((each) => h("tr", {}, h("th", { scope: "row" }, h("a", { href: `/search?service=${encodeURIComponent(each.name)}` }, h("bdi", {}, named(each.name, 60)))), cells(each)))))),
    calls.length > 0 && h("section", {}, h("h2", {}, "Calls"), h("table", {}, head("From", "To"), h("tbody", {}, calls.map((each) => h("tr", {}, h("th", { scope: "row" }, h("bdi", {}, named(each.from, 60))), h("td", {}, h("bdi", {}, named(each.to, 60))), cells(each)))))));
}
