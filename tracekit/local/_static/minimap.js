// The whole trace in a strip; what is dragged over becomes the zoom.

import { h } from "./dom.js";

const HEIGHT = 56;

/** Return `{element, draw(zoom)}`; `zoomed(start, end)` is called when a part is chosen. */
export function minimap(trace, colours, zoomed) {
  const canvas = h("canvas", { "aria-hidden": "true" });
  const window_ = h("div", { class: "window" });
  const element = h("div", { class: "minimap", title: "Drag to zoom, double click to see all" }, canvas, window_);
  const [start, length] = [trace.start, Math.max(1, trace.end - trace.start)];
  const share = (event) => {
    const box = element.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };
  let from = null;
  const cover = (a, b) => {
    window_.style.setProperty("left", `${100 * Math.min(a, b)}%`);
    window_.style.setProperty("width", `${100 * Math.abs(b - a)}%`);
  };
  element.addEventListener("pointerdown", (event) => {
    from = share(event);
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", (event) => from !== null && cover(from, share(event)));
  element.addEventListener("pointerup", (event) => {
    const to = share(event);
    if (Math.abs(to - from) > 0.005) zoomed(start + Math.min(from, to) * length, start + Math.max(from, to) * length);
    from = null;
  });
  element.addEventListener("dblclick", () => zoomed(start, start + length));

  function draw(zoom) {
    cover((zoom.start - start) / length, (zoom.end - start) / length);
    const [width, ratio] = [element.clientWidth, devicePixelRatio || 1];
    if (!width) return;
    canvas.width = width * ratio;
    canvas.height = HEIGHT * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const palette = Array.from({ length: 12 }, (_, i) => style.getPropertyValue(`--c${i}`));
    const error = style.getPropertyValue("--error");
    const step = Math.min(4, (HEIGHT - 4) / trace.spans.length);
    trace.spans.forEach((span, index) => {
      pen.fillStyle = span.error ? error : palette[colours.get(span.service)];
      const x = Math.max(1, Math.min(((span.start - start) / length) * width, width - 3)); // beside the window's edge
      pen.fillRect(x, 2 + index * step, Math.max(2, ((span.end - span.start) / length) * width), Math.max(0.6, step * 0.8));
    });
  }
  return { element, draw };
}
