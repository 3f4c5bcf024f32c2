// Elements and words. Text from outside becomes text nodes only: nothing here parses markup.

const SVG = "http://www.w3.org/2000/svg";

/** Return an element: `on…` are listeners, `style` an object, everything else attributes. */
export function h(name, attributes, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Return an SVG element. */
export function s(name, attributes, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [k, v] of Object.entries(value)) element.style.setProperty(k, v);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false));
  return element;
}

/** Say something to who listens instead of looking. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

// Controls and marks that turn the direction of text could make one name look like another.
const ODD = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Return text from outside on one line, its invisible characters shown, not longer than `max`. */
export function shown(text, max = 200) {
  const whole = String(text ?? "");
  const short = whole.length > max ? `${whole.slice(0, max)}…` : whole;
  return short.replace(ODD, (c) => (c === "\n" || c === "\t" ? " " : "\u{fffd}"));
}

/** Return the same for text that may have lines of its own. */
export function lines(text) {
  return String(text ?? "").replace(ODD, (c) => (c === "\n" || c === "\t" ? c : "\u{fffd}"));
}

/** Return a name for people: what has none says so. */
export function named(text, max = 200) {
  return shown(text, max).trim() || "(no name)";
}

const UNITS = [[86_400e6, "d"], [3600e6, "h"], [60e6, "min"], [1e6, "s"], [1e3, "ms"]];

/** Return a duration in µs with three digits and a unit. */
export function duration(us) {
  if (!Number.isFinite(us)) return "?";
  if (us < 0) return `−${duration(-us)}`;
  for (const [unit, name] of UNITS) {
    if (us >= unit * 0.9995) return `${Number((us / unit).toPrecision(us / unit >= 100 ? 4 : 3)).toLocaleString("en")} ${name}`;
  }
  return `${Math.round(us)} µs`;
}

/** Return how long a span took. By how much one ends before it starts is more digits than JSON's numbers keep. */
export function took(span) {
  return span.duration < 0 ? "below 0" : duration(span.duration);
}

/** Return a point in time, in the time zone of the browser; `?` where it is none. */
export function when(us) {
  const date = new Date(us / 1000);
  if (Number.isNaN(date.getTime())) return "?";
  const day = date.toDateString() === new Date().toDateString() ? "" : `${date.toLocaleDateString("sv")} `;
  return `${day}${date.toLocaleTimeString("sv")}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** Return a number of things: "1 span", "2,000 spans". */
export function count(number, word) {
  return `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
}

/** Return the number of a colour for each service: by its name, so that it stays between traces. */
export function colours(services) {
  const taken = new Map();
  const used = new Set();
  for (const service of [...new Set(services)].sort()) {
    let hash = 7;
    for (const c of service) hash = (hash * 31 + c.codePointAt(0)) % 65_521;
    let colour = hash % 12;
    while (used.has(colour) && used.size < 12) colour = (colour + 5) % 12;
    used.add(colour);
    taken.set(service, colour);
  }
  return taken;
}

function icon() {
  return s("svg", { viewBox: "0 0 16 16", width: 13, height: 13, "aria-hidden": "true", class: "icon" }, s("path", { d: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z" }));
}

/** Return a button that copies a text. */
export function copier(text, what) {
  const button = h("button", { type: "button", class: "copy", "aria-label": `Copy ${what}`, title: `Copy ${what}` }, icon());
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "✓";
      say(`Copied ${what}`);
    } catch {
      button.textContent = "✗";
      say(`The browser does not let the page copy`);
    }
    setTimeout(() => button.replaceChildren(icon()), 1500);
  });
  return button;
}
