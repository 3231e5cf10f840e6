// The power curve of a day: an area of 15-minute means, drawn for the width it has.

import { svg } from "./dom.js";
import * as format from "./format.js";
import { t } from "./i18n.js";

const QUARTER_MS = 900_000;
let made = 0;

/** A round step so that at most `count` lines fit below `top`. */
function niceStep(top, count) {
  const raw = top / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 2.5, 5, 10].map((m) => m * power).find((step) => step >= raw) ?? 10 * power;
}

export class PowerChart {
  /** `axes`: with scales and a readable point under the pointer or the arrow keys; else a plain curve. */
  constructor(host, { axes = false, height = 64 } = {}) {
    Object.assign(this, { host, axes, height, data: null, at: null, gradient: `area-${(made += 1)}` });
    this.root = svg("svg", { role: "img", height, tabindex: axes ? 0 : null });
    host.replaceChildren(this.root);
    new ResizeObserver(() => this.draw()).observe(host);
    if (axes) this.listen();
  }

  listen() {
    this.root.addEventListener("pointermove", (event) => this.point(this.slotAt(event.offsetX)));
    this.root.addEventListener("pointerleave", () => this.point(null));
    this.root.addEventListener("blur", () => this.point(null));
    this.root.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined || !this.data?.values.length) return;
      event.preventDefault();
      const last = this.data.values.length - 1;
      this.point(Math.min(Math.max((this.at ?? last + 1) + step, 0), last));
    });
  }

  /** `values` in W per 15 minutes from `startMs`; null is a gap, never a zero. */
  update(values, startMs, endMs, zone) {
    this.data = { values, startMs, slots: Math.max(Math.round((endMs - startMs) / QUARTER_MS), 1), zone };
    this.draw();
  }

  point(slot) {
    this.at = slot;
    this.draw();
  }

  slotAt(x) {
    if (!this.data) return null;
    const slot = Math.floor(((x - this.left) / this.plotWidth) * this.data.slots);
    return slot >= 0 && slot < this.data.values.length ? slot : null;
  }

  draw() {
    const width = this.host.clientWidth;
    if (!this.data || width === 0) return;
    const known = this.data.values.filter((value) => value !== null);
    this.measure(width, known);
    this.root.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
    this.root.setAttribute("width", width);
    this.root.setAttribute("aria-label", this.summary(known));
    this.root.replaceChildren(this.shade(), ...(this.axes ? this.scales(width) : []), ...this.runs().flatMap((run) => this.area(run)), ...this.marks());
  }

  measure(width, known) {
    const highest = Math.max(...known, known.length ? 1000 : 100_000);
    const step = niceStep(highest, 4);
    this.top = this.axes ? Math.ceil(highest / step) * step : highest * 1.08;
    this.step = step;
    this.left = this.axes ? 52 : 1;
    this.bottom = this.axes ? this.height - 24 : this.height - 1;
    this.plotWidth = width - this.left - (this.axes ? 8 : 1);
  }

  x(slot) {
    return this.left + (slot / this.data.slots) * this.plotWidth;
  }

  y(value) {
    return this.bottom - (Math.max(value, 0) / this.top) * (this.bottom - (this.axes ? 10 : 3));
  }

  /** Stretches without gaps. */
  runs() {
    const runs = [];
    let run = [];
    this.data.values.forEach((value, slot) => {
      if (value !== null) run.push([slot + 0.5, value]);
      else if (run.length) runs.push(run.splice(0));
    });
    return run.length ? [...runs, run] : runs;
  }

  area(run) {
    const line = run.map(([slot, value], i) => `${i ? "L" : "M"}${this.x(slot).toFixed(1)} ${this.y(value).toFixed(1)}`).join("");
    const [first, last] = [this.x(run[0][0]).toFixed(1), this.x(run.at(-1)[0]).toFixed(1)];
    if (run.length === 1) return [svg("circle", { class: "dot", cx: first, cy: this.y(run[0][1]), r: 1.6 })];
    return [
      svg("path", { d: `${line}L${last} ${this.bottom}L${first} ${this.bottom}Z`, fill: `url(#${this.gradient})` }),
      svg("path", { d: line, class: "curve" }),
    ];
  }

  shade() {
    return svg("defs", null, svg("linearGradient", { id: this.gradient, x1: 0, y1: 0, x2: 0, y2: 1 },
      svg("stop", { offset: "0", class: "shade-top" }), svg("stop", { offset: "1", class: "shade-bottom" })));
  }

  scales(width) {
    const parts = [];
    for (let value = 0; value <= this.top + this.step / 2; value += this.step) {
      const y = this.y(value).toFixed(1);
      parts.push(svg("line", { class: "grid", x1: this.left, x2: width - 8, y1: y, y2: y }));
      parts.push(svg("text", { class: "tick", x: this.left - 8, y: Number(y) + 4, "text-anchor": "end", text: this.tick(value) }));
    }
    const every = width < 520 ? 24 : 12;
    for (let slot = 0; slot <= this.data.slots; slot += every) {
      const text = slot === this.data.slots ? "24:00" : this.time(slot);
      const anchor = slot === 0 ? "start" : slot === this.data.slots ? "end" : "middle";
      parts.push(svg("text", { class: "tick", x: this.x(slot), y: this.height - 6, "text-anchor": anchor, text }));
    }
    return parts;
  }

  /** Scale labels: kW, or MW when that is shorter. */
  tick(value) {
    if (value === 0) return "0";
    return this.top >= 1e6 ? `${+(value / 1e6).toFixed(2)} MW` : `${+(value / 1e3).toFixed(1)} kW`;
  }

  time(slot) {
    return format.clock(this.data.startMs + slot * QUARTER_MS, this.data.zone);
  }

  marks() {
    const { values } = this.data;
    if (this.at !== null && values[this.at] !== undefined) return this.crosshair(this.at);
    const last = values.findLastIndex((value) => value !== null);
    if (last < 0) return [svg("text", { class: "tick", x: this.left + this.plotWidth / 2, y: this.height / 2, "text-anchor": "middle", text: t("no_data") })];
    return [svg("circle", { class: "dot", cx: this.x(last + 0.5), cy: this.y(values[last]), r: this.axes ? 4 : 3 })];
  }

  crosshair(slot) {
    const value = this.data.values[slot];
    const x = this.x(slot + 0.5);
    const text = `${this.time(slot)}–${this.time(slot + 1)}  ${value === null ? "–" : format.joined(format.power(value))}`;
    const half = 92;
    const middle = Math.min(Math.max(x, this.left + half), this.left + this.plotWidth - half);
    return [
      svg("line", { class: "cross", x1: x, x2: x, y1: 6, y2: this.bottom }),
      value === null ? null : svg("circle", { class: "dot", cx: x, cy: this.y(value), r: 4 }),
      svg("rect", { class: "tip", x: middle - half, y: 2, width: 2 * half, height: 24, rx: 6 }),
      svg("text", { class: "tip-text", x: middle, y: 18, "text-anchor": "middle", text }),
    ].filter(Boolean);
  }

  summary(known) {
    if (!known.length) return t("no_data");
    return t("chart", { now: format.joined(format.power(known.at(-1))), max: format.joined(format.power(Math.max(...known))) });
  }
}
