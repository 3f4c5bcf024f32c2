// A trace as a forest: who called whom, what failed, and what the whole waited for.

/**
 * Return the trace of Jaeger's JSON as `{id, spans, roots, start, end, services, errors, depth}`.
 * `spans` stand in the order of the drawing: parents before children, siblings by their start.
 */
export function modelled(json) {
  const spans = json.spans.map((each) => modelledSpan(each, json.processes));
  const byId = new Map();
  for (const span of spans) if (!byId.has(span.id)) byId.set(span.id, span);
  for (const span of spans) {
    const parent = parentOf(span, byId, json.traceID);
    if (parent) {
      span.parent = parent;
      parent.children.push(span);
    }
    for (const reference of span.links) byId.get(reference.spanID)?.linkedBy.push(span);
  }
  const roots = rootsOf(spans);
  const ordered = inOrder(roots);
  const trace = {
    id: json.traceID,
    spans: ordered,
    roots,
    byId,
    start: ordered.reduce((least, span) => Math.min(least, span.start), Infinity),
    end: ordered.reduce((most, span) => Math.max(most, span.end), -Infinity),
    services: [...new Set(ordered.map((span) => span.service))],
    errors: ordered.filter((span) => span.error).length,
    depth: ordered.reduce((most, span) => Math.max(most, span.depth), 0) + 1,
  };
  for (const root of roots) markCriticalPath(root);
  return trace;
}

function modelledSpan(json, processes) {
  const process = json.process ?? processes[json.processID] ?? {};
  const start = number(json.startTime);
  const tags = json.tags ?? [];
  return {
    id: json.spanID,
    operation: json.operationName ?? "",
    service: process.serviceName ?? "",
    processTags: process.tags ?? [],
    start,
    end: start + Math.max(0, number(json.duration)),
    duration: number(json.duration),
    tags,
    kind: String(tags.find((tag) => tag.key === "span.kind")?.value ?? ""),
    error: tags.some((tag) => tag.key === "error" && tag.value !== false && tag.value !== "false"),
    logs: (json.logs ?? []).map((log) => ({ time: number(log.timestamp), fields: log.fields ?? [] })),
    references: json.references ?? [],
    links: [],
    linkedBy: [],
    warnings: json.warnings ?? [],
    flags: json.flags ?? 0,
    parent: null,
    follows: false,
    children: [],
    depth: 0,
    critical: [],
  };
}

function number(value) {
  const found = Number(value);
  if (!Number.isFinite(found)) return 0;
  return found >= 2 ** 63 ? found - 2 ** 64 : found; // Jaeger's JSON shows times below 0 so
}

function parentOf(span, byId, traceId) {
  const inside = span.references.filter((ref) => ref.traceID === traceId && ref.spanID !== span.id);
  const chosen = inside.find((ref) => ref.refType === "CHILD_OF") ?? inside[0];
  span.links = span.references.filter((ref) => ref !== chosen);
  span.follows = chosen?.refType === "FOLLOWS_FROM";
  span.orphan = chosen !== undefined && !byId.has(chosen.spanID);
  return byId.get(chosen?.spanID);
}

/** Return the spans without a parent; a ring of parents is cut at its earliest span. */
function rootsOf(spans) {
  const roots = spans.filter((span) => span.parent === null);
  const reached = new Set(inOrder(roots));
  const byStart = spans.filter((span) => !reached.has(span)).sort((a, b) => a.start - b.start);
  for (const span of byStart) {
    if (reached.has(span)) continue;
    span.parent.children = span.parent.children.filter((child) => child !== span);
    span.parent = null;
    roots.push(span);
    for (const each of inOrder([span])) reached.add(each);
  }
  return roots.sort((a, b) => a.start - b.start);
}

function inOrder(roots) {
  const ordered = [];
  const seen = new Set();
  const open = [...roots].reverse();
  while (open.length) {
    const span = open.pop();
    if (seen.has(span)) continue;
    seen.add(span);
    ordered.push(span);
    span.depth = span.parent ? span.parent.depth + 1 : 0;
    span.children.sort((a, b) => a.start - b.start);
    for (let i = span.children.length - 1; i >= 0; i--) open.push(span.children[i]);
  }
  return ordered;
}

/**
 * Mark what the end of `root` waited for: from the end backwards, the child that finished last
 * before what is already marked. Children that only follow, nobody waits for.
 */
function markCriticalPath(root) {
  const open = [[root, root.end]];
  while (open.length) {
    const [span, until] = open.pop();
    const top = Math.min(until, span.end);
    let cursor = top;
    const children = span.children.filter((child) => !child.follows);
    children.sort((a, b) => b.end - a.end);
    for (const child of children) {
      const end = Math.min(child.end, top);
      if (end > cursor || child.start >= cursor || end <= span.start) continue;
      if (end < cursor) span.critical.push([end, cursor]);
      open.push([child, end]);
      cursor = Math.max(child.start, span.start);
    }
    if (cursor > span.start || !span.critical.length) span.critical.push([span.start, cursor]);
  }
}

/** Return the time in which none of its children ran. */
export function selfTime(span) {
  let covered = 0;
  let cursor = span.start;
  for (const child of span.children) {
    const start = Math.max(child.start, cursor);
    const end = Math.min(child.end, span.end);
    if (end > start) {
      covered += end - start;
      cursor = end;
    }
  }
  return span.end - span.start - covered;
}

/** Tell whether a span says `text` (lower case) anywhere. */
export function says(span, text) {
  const has = (value) => String(value).toLowerCase().includes(text);
  const tagged = (tag) => has(tag.key) || has(tag.value) || has(`${tag.key}=${tag.value}`);
  return (
    has(span.operation) || has(span.service) || span.id.includes(text) ||
    span.tags.some(tagged) || span.processTags.some(tagged) || span.logs.some((log) => log.fields.some(tagged))
  );
}

/** Return how many spans lie below one. */
export function below(span) {
  let number = 0;
  const open = [...span.children];
  while (open.length) {
    number++;
    for (const child of open.pop().children) open.push(child);
  }
  return number;
}
