// Two traces beside each other: the same calls on the same line, what one has and the other lacks.

import { trace as load } from "./api.js";
import { colours, count, duration, h, named, when } from "./dom.js";
import { modelled } from "./model.js";

const MOST = 2000; // lines; calls that repeat are one line, so this is a lot

export async function compareView(place, { ids, signal }) {
  const [a, b] = (await Promise.all(ids.map((id) => load(id, signal)))).map(modelled);
  const lines = flat(merged(a, b));
  const shade = colours([...a.services, ...b.services]);
  const most = lines.reduce((sum, line) => Math.max(sum, line.a.time, line.b.time), 1);
  const card = (trace, name) => h("div", { class: "card" }, h("h2", {}, `${name}: `, h("a", { href: `/trace/${trace.id}` }, h("bdi", {}, named(trace.roots[0]?.service, 40)), " ", h("bdi", {}, named(trace.roots[0]?.operation, 80)))),
    h("p", {}, h("b", {}, duration(trace.end - trace.start)), ` · ${count(trace.spans.length, "span")} · ${count(trace.errors, "error")} · ${when(trace.start)}`), h("code", {}, trace.id));
  const changed = lines.filter((line) => line.state !== "same").length;
  const only = h("input", { type: "checkbox", onchange: () => table.classList.toggle("changes", only.checked) });
  const table = h("table", { class: "compared" },
    h("thead", {}, h("tr", {}, ["Call", "A", "B", "B − A"].map((each) => h("th", { scope: "col" }, each)))),
    h("tbody", {}, lines.slice(0, MOST).map((line) => row(line, shade, most))));
  place.append(h("article", { class: "compare" }, h("h1", {}, "Two traces"), h("div", { class: "cards" }, card(a, "A"), card(b, "B")),
    h("p", { class: "tools" }, h("span", {}, `${count(lines.length, "call")}, ${changed.toLocaleString("en")} differ`), h("label", { class: "check" }, only, "Only what differs")),
    table, lines.length > MOST && h("p", { class: "quiet" }, `${count(lines.length - MOST, "more line")} not shown`)));
}

/** Return a forest of calls; what has one service, operation and caller is one of them. */
function merged(a, b) {
  const top = { children: new Map() };
  for (const [side, trace] of [["a", a], ["b", b]]) {
    const nodes = new Map();
    for (const span of trace.spans) {
      const above = nodes.get(span.parent) ?? top;
      const key = JSON.stringify([span.service, span.operation]);
      if (!above.children.has(key)) {
        const none = () => ({ calls: 0, time: 0, errors: 0 });
        above.children.set(key, { service: span.service, operation: span.operation, a: none(), b: none(), children: new Map() });
      }
      const node = above.children.get(key);
      node[side].calls += 1;
      node[side].time += Math.max(0, span.duration);
      node[side].errors += span.error;
      nodes.set(span, node);
    }
  }
  return top;
}

function flat(top) {
  const found = [];
  const open = [...top.children.values()].reverse().map((node) => [node, 0]);
  while (open.length) {
    const [node, depth] = open.pop();
    found.push({ ...node, depth, state: stateOf(node) });
    for (const child of [...node.children.values()].reverse()) open.push([child, depth + 1]);
  }
  return found;
}

function stateOf({ a, b }) {
  if (!a.calls) return "added";
  if (!b.calls) return "gone";
  if (a.calls !== b.calls || a.errors !== b.errors) return "changed";
  const ratio = (b.time + 100) / (a.time + 100); // 100 µs more or less are noise
  return ratio > 1.5 ? "slower" : ratio < 1 / 1.5 ? "faster" : "same";
}

const WORDS = { added: "only in B", gone: "only in A", changed: "changed", slower: "slower", faster: "faster", same: "" };

function row(line, shade, most) {
  const side = (it) => h("td", {}, it.calls ? [duration(it.time), it.calls > 1 && h("span", { class: "quiet" }, ` ${it.calls}×`), it.errors > 0 && h("span", { class: "error" }, ` ✗ ${it.errors}`),
    h("span", { class: `share c${shade.get(line.service)}` }, h("i", { style: { width: `${Math.max(0.5, (100 * it.time) / most)}%` } }))] : h("span", { class: "quiet" }, "—"));
  const both = line.a.calls && line.b.calls;
  const delta = line.b.time - line.a.time;
  return h("tr", { class: line.state },
    h("th", { scope: "row", class: `c${shade.get(line.service)}` }, h("span", { style: { "padding-left": `${Math.min(line.depth, 20) * 14}px` } }), h("i", { class: "dot" }), h("bdi", { class: "service" }, named(line.service, 40)), " ", h("bdi", {}, named(line.operation, 100))),
    side(line.a), side(line.b), h("td", {}, both ? `${delta > 0 ? "+" : "−"}${duration(Math.abs(delta))} ` : "", h("span", { class: "state" }, WORDS[line.state])));
}
