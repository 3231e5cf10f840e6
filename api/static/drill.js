// From a figure of a month down to what the meter said: days → quarter hours → frames as they were received.

import { amount, inUnits, SHOWN } from "./exact.js";
import { h } from "./dom.js";
import { w } from "./words.js";

/** Loads its inside when it is opened for the first time. */
function lazy(summary, load) {
  const inside = h("div", { class: "inside" });
  const node = h("details", {}, summary, inside);
  node.addEventListener("toggle", async () => {
    if (!node.open || inside.dataset.asked) return;
    inside.dataset.asked = "yes";
    try {
      inside.replaceChildren(...(await load()));
    } catch (error) {
      delete inside.dataset.asked;
      inside.replaceChildren(h("p", { class: "late", role: "alert", text: error.message }));
    }
  });
  return node;
}

/** A plain table; a heading in brackets stands over numbers. */
export function table(heads, rows) {
  const head = (name) => h("th", { scope: "col", class: Array.isArray(name) ? "n" : null, text: name });
  return h("table", { class: "plain" }, h("thead", {}, h("tr", {}, ...heads.map(head))), h("tbody", {}, ...rows));
}

function local(time) {
  return time.slice(0, 19).replace("T", " ");
}

function asked(path, values) {
  return `${path}?${new URLSearchParams(values)}`;
}

function after(month) {
  const [year, number] = month.split("-").map(Number);
  return number === 12 ? `${year + 1}-01-01` : `${year}-${String(number + 1).padStart(2, "0")}-01`;
}

/** The days of a total of a meter in a month; `ask` fetches from the API. */
export function drill(line, month, ratio, ask) {
  const summary = h("summary", { text: w("drill") });
  return lazy(summary, async () => {
    const found = await ask(asked("/intervals", { meter: line.meter, reading_type: line.reading_type, from: `${month}-01`, to: after(month), size: "day" }));
    const sum = found.intervals.reduce((total, day) => total + BigInt(day.energy), 0n).toString();
    const same = line.energy_wh === null ? w("ledger_only", amount(sum, line.unit)) : sum === line.energy_wh ? w("ledger_same") : w("ledger_moved", amount(sum, line.unit));
    return [h("p", { class: "muted", text: same }), ...found.intervals.map((day) => lazy(dayLine(day, line), () => quarters(day, line, ratio, ask)))];
  });
}

function dayLine(day, line) {
  const notes = [day.missing ? w("missing_quarters", day.missing) : "", day.quality === "valid" ? "" : w(`quality_${day.quality}`)].filter(Boolean).join(" · ");
  return h("summary", {}, `${day.start.slice(0, 10)} · ${amount(day.energy, line.unit)}`, notes ? h("span", { class: "warn", text: ` · ${notes}` }) : null);
}

async function quarters(day, line, ratio, ask) {
  const found = await ask(asked("/intervals", { meter: line.meter, reading_type: line.reading_type, from: day.start, to: day.end }));
  const rows = found.intervals.map((part) => h("tr", {}, h("td", {}, lazy(h("summary", { text: `${part.start.slice(11, 16)}–${part.end.slice(11, 16)}` }), () => frames(part, line, ratio, ask))), h("td", { class: "n", text: inUnits(part.opening, line.unit) }), h("td", { class: "n", text: inUnits(part.closing, line.unit) }), h("td", { class: "n", text: inUnits(part.energy, line.unit) }), h("td", { text: w(`quality_${part.quality}`) }), h("td", { text: `r${part.revision}` })));
  const unit = SHOWN[line.unit][0];
  return [table([w("quarter"), [`${w("total_opening")} ${unit}`], [`${w("total_closing")} ${unit}`], [`${w("energy")} ${unit}`], w("quality"), w("ledger_revision")], rows)];
}

async function frames(part, line, ratio, ask) {
  const end = new Date(part.end_ms + 1).toISOString();  // the reading on the edge belongs to the quarter hour that it closes, too
  const found = (await ask(asked("/frames", { meter: line.meter, from: part.start, to: end }))).filter((frame) => frame.readings.some((r) => r.name === line.reading_type) && Date.parse(frame.t) <= part.end_ms);
  if (!found.length) return [h("p", { class: "muted", text: w("no_frames") })];
  const rows = found.flatMap((frame) => frame.readings.filter((r) => r.name === line.reading_type).map((r) => h("tr", {}, h("td", { text: local(r.t) }), h("td", { class: "n", text: r.raw }), h("td", { text: `${r.scale ? `×10^${r.scale} ` : ""}${r.unit}` }), h("td", { text: local(frame.received) }), h("td", { text: `${frame.segment}/${frame.index} · ${w("frame")} ${frame.number}` }))));
  return [h("p", { class: "muted", text: w("as_said", ratio) }), table([w("time"), [w("raw")], w("unit"), w("received"), w("journal")], rows)];
}
