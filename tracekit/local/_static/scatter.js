// Durations over time, a dot for each trace. The list below says the same to who does not see it.

import { count, duration, h, named, when } from "./dom.js";

const HEIGHT = 150;
const EDGE = { left: 58, right: 14, top: 12, bottom: 22 };

/** Draw `rows` into `place`; `open(row)` is called for the dot that is clicked. */
export function scatter(place, rows, open) {
  const width = Math.max(200, place.clientWidth);
  const canvas = h("canvas", { role: "img", "aria-label": `Durations of ${count(rows.length, "trace")} over time; the list below has them in words` });
  const tip = h("div", { class: "tip", hidden: true });
  place.replaceChildren(canvas, tip);
  const ratio = devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = HEIGHT * ratio;
  canvas.style.setProperty("height", `${HEIGHT}px`);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const dots = placed(rows, width);
  paint(pen, dots, width, getComputedStyle(document.documentElement));
  const under = (event) => nearest(dots.list, event.offsetX, event.offsetY);
  canvas.addEventListener("mousemove", (event) => {
    const dot = under(event);
    canvas.classList.toggle("over", Boolean(dot));
    tip.hidden = !dot;
    if (!dot) return;
    const { row } = dot;
    tip.replaceChildren(h("b", {}, named(row.service, 40)), ` ${named(row.operation, 60)}`, h("br"), `${duration(row.duration)} · ${count(row.spans, "span")}${row.errors ? ` · ✗ ${row.errors}` : ""} · ${when(row.startTime)}`);
    tip.style.setProperty("left", `${Math.min(Math.max(0, dot.x - 120), Math.max(0, width - 260))}px`);
    tip.style.setProperty("top", `${dot.y < 70 ? dot.y + 12 : dot.y - 58}px`);
  });
  canvas.addEventListener("mouseleave", () => (tip.hidden = true));
  canvas.addEventListener("click", (event) => {
    const dot = under(event);
    if (dot) open(dot.row);
  });
}

function placed(rows, width) {
  let [first, last, low, high, most] = [Infinity, -Infinity, Infinity, 1, 1];
  for (const row of rows) {
    first = Math.min(first, row.startTime);
    last = Math.max(last, row.startTime);
    low = Math.min(low, Math.max(1, row.duration));
    high = Math.max(high, row.duration);
    most = Math.max(most, row.spans);
  }
  if (high / low < 4) low = high / 4; // a few equal traces do not fill the whole height
  const [bottom, top] = [Math.log(low) - 0.15, Math.log(high) + 0.15];
  const right = width - EDGE.right;
  const x = (us) => (last > first ? EDGE.left + 8 + ((us - first) / (last - first)) * (right - EDGE.left - 16) : (EDGE.left + right) / 2);
  const y = (us) => HEIGHT - EDGE.bottom - ((Math.log(Math.max(1, us)) - bottom) / (top - bottom)) * (HEIGHT - EDGE.top - EDGE.bottom);
  const list = rows.map((row) => ({ row, x: x(row.startTime), y: y(row.duration), r: 3 + 4 * Math.sqrt(row.spans / most) }));
  return { list, y, first, last, ticks: ticks(low, high) };
}

/** Return 1, 10, 100 … between two durations, or the two where there is none. */
function ticks(low, high) {
  const found = [];
  for (let at = 1; at <= high; at *= 10) if (at >= low) found.push(at);
  return found.length > 1 ? found.filter((_, i) => i % Math.ceil(found.length / 5) === 0) : [low, high];
}

function paint(pen, dots, width, style) {
  const colour = (name) => style.getPropertyValue(name);
  pen.font = `11px ${colour("--sans")}`;
  pen.textBaseline = "middle";
  for (const tick of dots.ticks) {
    pen.strokeStyle = colour("--line");
    pen.beginPath();
    pen.moveTo(EDGE.left, dots.y(tick));
    pen.lineTo(width - EDGE.right, dots.y(tick));
    pen.stroke();
    pen.fillStyle = colour("--quiet");
    pen.textAlign = "right";
    pen.fillText(duration(tick), EDGE.left - 8, dots.y(tick));
  }
  pen.textAlign = "left";
  pen.fillText(when(dots.first), EDGE.left, HEIGHT - 8);
  pen.textAlign = "right";
  if (dots.last > dots.first) pen.fillText(when(dots.last), width - EDGE.right, HEIGHT - 8);
  for (const failed of [false, true]) {
    pen.fillStyle = colour(failed ? "--error" : "--accent");
    pen.globalAlpha = dots.list.length > 500 ? 0.45 : 0.7;
    for (const dot of dots.list) {
      if (Boolean(dot.row.errors) !== failed) continue;
      pen.beginPath();
      pen.arc(dot.x, dot.y, dot.r, 0, 7);
      pen.fill();
    }
  }
  pen.globalAlpha = 1;
}

function nearest(list, x, y) {
  let [best, least] = [null, Infinity];
  for (const dot of list) {
    const away = Math.hypot(dot.x - x, dot.y - y) - dot.r;
    if (away < least) [best, least] = [dot, away];
  }
  return least <= 5 ? best : null;
}
