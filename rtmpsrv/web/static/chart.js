// Charts of bitrates: a line of the last minute, the latest value at the right.

import { draw, make, setAttribute, setText } from "./dom.js";
import { UNKNOWN, bitrate } from "./words.js";

const SECONDS = 60;
const WIDTH = 600; // of the large chart's drawing; it is stretched to its place
const HEIGHT = 160;

/** Return the path of a line through the values, and that of the area below it. */
export function paths(values, width, height, most) {
  if (values.length === 0) return { line: "", area: "" };
  const step = width / (SECONDS - 1);
  const start = width - step * (values.length - 1);
  const points = values.map((value, index) => {
    const y = height - (Math.min(value, most) / most) * height;
    return `${(start + index * step).toFixed(1)} ${y.toFixed(1)}`;
  });
  if (points.length === 1) points.unshift(`${(width - step).toFixed(1)} ${points[0].split(" ")[1]}`);
  const line = `M${points.join("L")}`;
  return { line, area: `${line}V${height}H${points[0].split(" ")[0]}Z` };
}

/** A small chart for a row of a table; the number stands beside it, so it is nothing to read aloud. */
export class Spark {
  constructor() {
    this.area = draw("path", { class: "area" });
    this.line = draw("path", { class: "line", "vector-effect": "non-scaling-stroke" });
    this.element = draw(
      "svg",
      { class: "spark", viewBox: "0 -1 100 26", preserveAspectRatio: "none", "aria-hidden": "true" },
      this.area,
      this.line,
    );
    this.drawn = null;
  }

  show(values) {
    if (values === this.drawn) return;
    this.drawn = values;
    const { line, area } = paths(values, 100, 24, Math.max(1, ...values) * 1.15);
    setAttribute(this.line, "d", line);
    setAttribute(this.area, "d", area);
  }
}

/** Return a round number that is not below the value. */
export function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10].map((one) => one * power).find((one) => one >= value);
}

/** The large chart of one channel: scale, limit, and the value under the pointer. */
export class Chart {
  constructor() {
    this.area = draw("path", { class: "area" });
    this.line = draw("path", { class: "line", "vector-effect": "non-scaling-stroke" });
    this.limit = draw("path", { class: "limit", "vector-effect": "non-scaling-stroke" });
    this.pointer = draw("path", { class: "pointer", "vector-effect": "non-scaling-stroke" });
    const lines = [0, 1, 2, 3, 4].map((one) =>
      draw("path", { class: "rule", d: `M0 ${(HEIGHT / 4) * one}H${WIDTH}`, "vector-effect": "non-scaling-stroke" }),
    );
    this.drawing = draw(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": "Bitrate" },
      ...lines,
      this.area,
      this.line,
      this.limit,
      this.pointer,
    );
    this.scale = [4, 2, 0].map(() => make("span"));
    this.said = make("span", { class: "said" });
    this.element = make(
      "figure",
      { class: "chart" },
      make("figcaption", {}, make("span", {}, "Bitrate, last minute"), this.said),
      make("div", { class: "plot" }, make("div", { class: "scale", "aria-hidden": "true" }, ...this.scale), this.drawing),
      make("div", { class: "times", "aria-hidden": "true" }, ...["60 s ago", "30 s", "now"].map((one) => make("span", {}, one))),
    );
    this.values = [];
    this.pointed = null;
    this.drawing.addEventListener("pointermove", (event) => this.point(event));
    this.drawing.addEventListener("pointerleave", () => this.point(null));
  }

  show(values, limit) {
    this.values = values;
    const most = roundUp(Math.max(1000, ...values, limit && limit < 3 * Math.max(...values, 1) ? limit : 0) * 1.05);
    const { line, area } = paths(values, WIDTH, HEIGHT, most);
    setAttribute(this.line, "d", line);
    setAttribute(this.area, "d", area);
    setAttribute(this.limit, "d", limit && limit <= most ? `M0 ${HEIGHT - (limit / most) * HEIGHT}H${WIDTH}` : "");
    [most, most / 2, 0].forEach((value, index) => setText(this.scale[index], bitrate(value)));
    const words = values.length === 0 ? "nothing yet" : `from ${bitrate(Math.min(...values))} to ${bitrate(Math.max(...values))}`;
    setAttribute(this.drawing, "aria-label", `Bitrate of the last minute: ${words}`);
    this.say();
  }

  point(event) {
    this.pointed = null;
    if (event !== null) {
      const place = this.drawing.getBoundingClientRect();
      this.pointed = Math.round((1 - (event.clientX - place.left) / place.width) * (SECONDS - 1));
    }
    this.say();
  }

  say() {
    const back = this.pointed === null ? 0 : Math.max(0, Math.min(SECONDS - 1, this.pointed));
    const value = this.values[this.values.length - 1 - back];
    const when = this.pointed === null ? "" : back === 0 ? "now: " : `${back} s ago: `;
    setText(this.said, when + (value === undefined ? UNKNOWN : bitrate(value)));
    const x = (WIDTH * (SECONDS - 1 - back)) / (SECONDS - 1);
    setAttribute(this.pointer, "d", this.pointed === null ? "" : `M${x.toFixed(1)} 0V${HEIGHT}`);
  }
}
