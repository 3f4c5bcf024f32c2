// The frame of the page: addresses, the bar on top, dark and light, keys that work everywhere.

import { offline, only, state } from "./api.js";
import { compareView } from "./compare.js";
import { count, h, say } from "./dom.js";
import { graphView } from "./graph.js";
import { searchView } from "./search.js";
import { lostBy, statusView } from "./status.js";
import { traceView } from "./waterfall.js";

// Jaeger's own addresses, so that links from logs and dashboards arrive here, too.
const ROUTES = [
  [/^\/trace\/([0-9a-fA-F]+)\.\.\.([0-9a-fA-F]+)$/, compareView, "Compare"],
  [/^\/trace\/([0-9a-fA-F]+)$/, traceView, "Trace"],
  [/^\/dependencies$/, graphView, "Services"],
  [/^\/status$/, statusView, "Status"],
  [/^\/(search)?$/, searchView, "Traces"],
];
const KEYS = [
  ["g then s, d, t", "go to the traces, the services, the status"],
  ["/", "search"],
  ["↑ ↓ Home End", "move in a list or a trace"],
  ["← →", "fold and unfold a span"],
  ["Enter", "open what is marked"],
  ["Esc", "close, or leave a field"],
  ["n N", "next and previous match"],
  ["e", "next span with an error"],
  ["+ − 0", "zoom in, out, see all"],
  ["[ ]", "move the zoom"],
  ["t", "dark or light"],
];

const main = document.getElementById("main");
const warning = h("a", { href: "/status", class: "warning", hidden: true });
let leave = new AbortController();

/** Where the page is: `{path, query}`. A file has no server, so its place is behind the #. */
function place() {
  const text = offline ? location.hash.slice(1) || "/" : location.pathname + location.search;
  const [path, query] = text.split("?");
  return { path, query: new URLSearchParams(query) };
}

/** Go to an address of the page; `replace` leaves no step to go back to. */
function go(address, { replace = false, render = true } = {}) {
  const target = offline ? `#${address}` : address;
  if (replace) history.replaceState(null, "", target);
  else history.pushState(null, "", target);
  if (render) show();
}

async function show() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const { path, query } = place();
  const [, view, title] = ROUTES.find(([pattern]) => pattern.test(path)) ?? [null, nothing, "Not found"];
  const ids = ROUTES.find(([pattern]) => pattern.test(path))?.[0].exec(path).slice(1) ?? [];
  document.title = `${title} · tracekit view`;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.dataset.path === path || (path === "/" && link.dataset.path === "/search");
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  main.replaceChildren();
  try {
    await view(main, { ids, query, signal, go });
  } catch (error) {
    if (signal.aborted) return;
    main.replaceChildren(
      h("section", { class: "empty" }, h("h1", {}, "This could not be shown"), h("p", {}, error.message),
        h("p", {}, h("a", { href: "/search" }, "All traces"))),
    );
    say(error.message);
  }
}

function nothing(place) {
  place.append(h("section", { class: "empty" }, h("h1", {}, "There is no such page"), h("p", {}, h("a", { href: "/search" }, "All traces"))));
}

function bar() {
  const link = (path, text) => h("a", { href: path, "data-path": path }, text);
  document.getElementById("top").append(
    h("a", { href: "/search", class: "brand", "aria-label": "tracekit view" }, h("span", {}, "tracekit "), h("b", {}, "view")),
    h("nav", { "aria-label": "Pages" }, link("/search", "Traces"), !offline && link("/dependencies", "Services"), !offline && link("/status", "Status")),
    h("span", { class: "gap" }),
    warning,
    h("button", { type: "button", onclick: toggleTheme, title: "Dark or light (t)", "aria-label": "Dark or light" }, "◐"),
    h("button", { type: "button", onclick: help, title: "Keys (?)", "aria-label": "Keys" }, "?"),
  );
}

function toggleTheme() {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  setTheme(dark ? "light" : "dark");
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // A browser that keeps nothing shows it until the page is left.
  }
  document.dispatchEvent(new Event("theme"));
}

function help() {
  const dialog = h("dialog", { class: "keys", "aria-labelledby": "keys" },
    h("h2", { id: "keys" }, "Keys"),
    h("dl", {}, KEYS.map(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])),
    h("form", { method: "dialog" }, h("button", { class: "primary" }, "Close")),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

let pending = "";

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const paths = { s: "/search", d: "/dependencies", t: "/status" };
  if (pending === "g" && paths[event.key] && !offline) {
    pending = "";
    go(paths[event.key]);
    return;
  }
  pending = event.key;
  if (event.key === "?") help();
  else if (event.key === "t") toggleTheme();
  else if (event.key === "/") {
    const field = main.querySelector("[data-find]");
    if (!field) return;
    event.preventDefault();
    field.focus();
    field.select?.();
  }
}

/** Follow links inside the page without loading it again. */
function onClick(event) {
  const link = event.target.closest("a[href^='/']");
  if (!link || link.hasAttribute("download") || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(link.getAttribute("href"));
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

async function watch() {
  try {
    const lost = lostBy(await state());
    warning.hidden = !lost.length;
    warning.replaceChildren(`⚠ ${lost.length}`, h("span", {}, lost.length === 1 ? " problem" : " problems"));
    warning.setAttribute("aria-label", count(lost.length, "problem"));
    warning.title = lost.map((each) => each.text).join("\n");
  } catch {
    warning.hidden = false;
    warning.replaceChildren("⚠", h("span", {}, " no answer"));
    warning.setAttribute("aria-label", "The server does not answer");
    warning.title = "The server does not answer: is `tracekit view` still running?";
  }
  setTimeout(watch, document.hidden ? 20_000 : 4000);
}

try {
  const kept = localStorage.getItem("theme");
  if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
} catch {
  // See setTheme.
}
bar();
document.addEventListener("keydown", onKey);
document.addEventListener("click", onClick);
addEventListener("popstate", show);
if (only() && !location.hash) go(`/trace/${only()}`, { replace: true });
else show();
if (!offline) watch();
