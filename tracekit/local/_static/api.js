// Where traces come from: the server that sent this page, or the page itself when it was handed over.

const embedded = document.getElementById("traces");

/** Whether this page carries its traces and has no server. */
export const offline = embedded !== null;

let held;

function data() {
  held ??= JSON.parse(embedded.textContent).data ?? [];
  return held;
}

/** Return the id of the trace that a handed-over page holds, null if it holds several or none. */
export function only() {
  return offline && data().length === 1 ? data()[0].traceID : null;
}

async function ask(path, parameters, signal) {
  const query = new URLSearchParams(parameters).toString();
  const answer = await fetch(query ? `${path}?${query}` : path, { signal });
  if (!answer.ok) throw new Error(await reason(answer));
  return answer.json();
}

async function reason(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).errors[0].msg;
  } catch {
    return text.trim().slice(0, 300) || `the server answered with status ${answer.status}`;
  }
}

/** Return a trace in Jaeger's JSON; an Error says why not. */
export async function trace(id, signal) {
  if (!offline) return (await ask(`/api/traces/${encodeURIComponent(id)}`, {}, signal)).data[0];
  const found = data().find((each) => each.traceID === id);
  if (!found) throw new Error("this file has no such trace");
  return found;
}

/** Return the names of the services. */
export async function services() {
  if (offline) return [...new Set(data().flatMap((each) => Object.values(each.processes).map((p) => p.serviceName)))].sort();
  return (await ask("/api/services")).data ?? [];
}

/** Return the operations of a service. */
export async function operations(service) {
  if (offline || !service) return [];
  return (await ask(`/api/services/${encodeURIComponent(service)}/operations`)).data ?? [];
}

/** Return `{version, traces}`: a short row for each trace that matches, the newest first. */
export async function search(parameters, signal) {
  if (offline) return { version: 0, traces: data().map(short) };
  return ask("/view/traces", parameters, signal);
}

/** Return what came, what was lost and what services are told. */
export const state = (signal) => ask("/view/state", {}, signal);

/** Return the services, what they call, how often and how long. */
export const graph = (signal) => ask("/view/graph", {}, signal);

/** Tell a service how to sample from now on; an empty name means all without an order. */
export async function order(service, type, param) {
  const answer = await fetch("/view/sampling", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ service, type, param }),
  });
  if (!answer.ok) throw new Error(await reason(answer));
}

function short(trace) {
  const ids = new Set(trace.spans.map((each) => each.spanID));
  const isRoot = (span) => !span.references.some((ref) => ids.has(ref.spanID) && ref.spanID !== span.spanID);
  const byStart = (a, b) => a.startTime - b.startTime;
  const roots = trace.spans.filter(isRoot).sort(byStart);
  const root = roots[0] ?? [...trace.spans].sort(byStart)[0];
  const services = {};
  let end = -Infinity;
  let start = Infinity;
  let errors = 0;
  for (const span of trace.spans) {
    const name = trace.processes[span.processID]?.serviceName ?? "";
    services[name] = (services[name] ?? 0) + 1;
    start = Math.min(start, span.startTime);
    end = Math.max(end, span.startTime + span.duration);
    errors += span.tags.some((tag) => tag.key === "error" && String(tag.value) === "true");
  }
  return {
    traceID: trace.traceID,
    service: trace.processes[root.processID]?.serviceName ?? "",
    operation: root.operationName,
    startTime: start,
    duration: end - start,
    spans: trace.spans.length,
    errors,
    services,
  };
}
