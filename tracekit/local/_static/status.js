// What came, what was lost, where to send, and what services are told about sampling.

import { order, state } from "./api.js";
import { count, h, named, say, shown } from "./dom.js";

const PORTS = {
  compact: ["UDP", "Jaeger's compact Thrift"],
  binary: ["UDP", "Jaeger's binary Thrift"],
  thrift: ["HTTP", "Jaeger's Thrift, /api/traces"],
  otlp: ["HTTP", "OTLP, /v1/traces"],
  grpc: ["gRPC", "OTLP"],
  zipkin: ["HTTP", "Zipkin's JSON, /api/v2/spans"],
  sampling: ["HTTP", "sampling strategies, /sampling"],
  query: ["HTTP", "this page, Jaeger's query API"],
};
const LOST = {
  full_queue_dropped_spans: "its queue was full",
  too_large_dropped_spans: "they were too large",
  failed_to_emit_spans: "they could not be sent",
};

/** Return what somebody who misses spans should know, as `{text, detail}`. */
export function lostBy(now) {
  const found = [];
  const add = (number, word, rest, detail = "") => number && found.push({ text: `${count(number, word)} ${rest}`, detail });
  const malformed = Object.values(now.malformed).reduce((sum, each) => sum + each, 0);
  add(malformed, "message", "arrived broken", now.broken && `the last by ${now.broken.wire}: ${shown(now.broken.reason, 300)}`);
  add(now.dropped_datagrams, "datagram", "came faster than they could be read");
  add(now.refused_spans, "span", "of traces that are too large to hold");
  for (const client of now.clients) {
    const service = named(client.service, 80);
    add(client.missed_messages, "message", `of ${service} did not arrive`);
    for (const [reason, number] of Object.entries(client.lost ?? {})) add(number, "span", `lost by ${service}: ${LOST[reason] ?? reason}`);
  }
  if (now.store_failed) found.push({ text: "The file is no longer written", detail: shown(now.store_failed, 300) });
  return found;
}

/** Return what an empty page says: where it listens, and why nothing may have come. */
export function listens(now) {
  const asked = Object.entries(now.sampling);
  return [
    h("h2", {}, "No trace yet"),
    h("p", {}, "Traces show up here as they come. It listens on ", h("code", {}, now.host), ":"),
    ports(now),
    h("h3", {}, "A service runs, and nothing comes?"),
    h("ul", {},
      h("li", {}, "It may send elsewhere: ", h("code", {}, "tracekit env"), " in its environment says where. In a container, 127.0.0.1 is the container itself."),
      h("li", {}, "It may sample few traces: ", h("code", {}, "JAEGER_SAMPLER_TYPE=const JAEGER_SAMPLER_PARAM=1"), " samples all."),
      asked.map(([service, told]) => h("li", {}, h("b", {}, named(service, 80)), ` has asked how to sample and was told: ${inWords(told)}.`)),
      lostBy(now).map((each) => h("li", { class: "error" }, `${each.text}${each.detail ? `: ${each.detail}` : ""}`)),
      h("li", {}, "No service at hand? ", h("code", {}, "tracekit demo"), " has some.")),
  ];
}

function ports(now) {
  return h("table", { class: "ports" }, h("thead", {}, h("tr", {}, ["Port", "Protocol", "What"].map((each) => h("th", { scope: "col" }, each)))),
    h("tbody", {}, Object.entries(now.ports).map(([name, number]) => h("tr", {}, h("td", {}, h("code", {}, number)), h("td", {}, PORTS[name]?.[0] ?? ""), h("td", {}, PORTS[name]?.[1] ?? name)))));
}

function inWords(told) {
  if (told.rateLimitingSampling) return `${told.rateLimitingSampling.maxTracesPerSecond} traces a second`;
  const rate = told.operationSampling?.defaultSamplingProbability ?? told.probabilisticSampling?.samplingRate ?? 0;
  const own = told.operationSampling?.perOperationStrategies?.length;
  const words = rate === 1 ? "every trace" : rate ? `1 trace in ${Math.round(1 / rate).toLocaleString("en")}` : "no trace";
  return own ? `${words}, and ${count(own, "operation")} otherwise` : words;
}

export async function statusView(place, { signal }) {
  const figures = h("div", { class: "figures" });
  const lost = h("div", {});
  const told = h("div", {});
  const where = h("div", {});
  const again = async () => {
    const now = await state(signal);
    figures.replaceChildren(...figuresOf(now));
    const problems = lostBy(now);
    lost.replaceChildren(problems.length
      ? h("ul", { class: "problems" }, problems.map((each) => h("li", {}, h("b", {}, each.text), each.detail && h("span", {}, each.detail))))
      : h("p", {}, "Nothing, as far as clients say: no broken message, no gap, no span dropped."));
    where.replaceChildren(ports(now));
    told.replaceChildren(sampled(now));
  };
  place.append(h("article", { class: "status" }, h("h1", {}, "Status"), figures,
    h("section", {}, h("h2", {}, "Lost"), lost),
    h("section", {}, h("h2", {}, "Sampling"), h("p", {}, "What services with a remote sampler are told when they ask."), told, orderForm(again)),
    h("section", {}, h("h2", {}, "Where to send"), where)));
  await again();
  const timer = setInterval(() => document.hidden || again().catch((error) => signal.aborted || say(error.message)), 2000);
  signal.addEventListener("abort", () => clearInterval(timer));
}

function figuresOf(now) {
  const mega = (bytes) => `${(bytes / 1048576).toLocaleString("en", { maximumFractionDigits: 1 })} MB`;
  const figure = (value, what, extra) => h("div", {}, h("b", {}, value), h("span", {}, what), extra && h("small", {}, extra));
  const received = Object.entries(now.received).filter(([, number]) => number).map(([wire, number]) => figure(number.toLocaleString("en"), `spans by ${wire}`));
  return [
    figure(now.spans.toLocaleString("en"), "spans held", now.evicted_spans ? `${now.evicted_spans.toLocaleString("en")} older ones gave way` : ""),
    figure(mega(now.bytes), `of ${mega(now.max_bytes)}`),
    ...received,
  ];
}

function sampled(now) {
  const rows = Object.entries(now.sampling);
  if (!rows.length) return h("p", { class: "quiet" }, "No service has asked yet.");
  return h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Service"), h("th", { scope: "col" }, "Is told to sample"))),
    h("tbody", {}, rows.map(([service, told]) => h("tr", {}, h("td", {}, h("bdi", {}, named(service, 80))), h("td", {}, inWords(told))))));
}

function orderForm(done) {
  const said = h("output", {});
  const form = h("form", { class: "order", "aria-label": "Set a strategy" },
    h("label", {}, h("span", {}, "Service"), h("input", { name: "service", placeholder: "every one", autocomplete: "off" })),
    h("label", {}, h("span", {}, "Kind"), h("select", { name: "type" }, h("option", { value: "probabilistic" }, "share of traces, 0 to 1"), h("option", { value: "ratelimiting" }, "traces a second"))),
    h("label", {}, h("span", {}, "Number"), h("input", { name: "param", type: "number", min: 0, step: "any", required: true, value: 1 })),
    h("button", { class: "primary" }, "Set"), said);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await order(form.elements.service.value, form.elements.type.value, Number(form.elements.param.value));
      said.textContent = "Told from now on.";
      await done();
    } catch (error) {
      said.textContent = error.message;
    }
  });
  return form;
}
