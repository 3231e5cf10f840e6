// The form that completes an exchanged meter (换表待确认): when, both displays, the new serial number, a photo.

import { h } from "./dom.js";
import { pick } from "./i18n.js";
import { w } from "./words.js";

const NUMBER = { type: "text", inputmode: "decimal", pattern: "[0-9]+([.][0-9]+)?", required: true, autocomplete: "off" };

function field(label, name, more) {
  return h("label", {}, h("b", { text: label }), h("input", { name, ...more }));
}

/** The form of one waiting meter; `send` takes the photo's file and what else the form says. */
export function exchangeForm(waiting, send) {
  const head = [h("div", {}, h("b", { text: `${waiting.meter} ${waiting.name}` }), " ", h("span", { class: "chip", "data-kind": "FINDING" }, h("b", { text: w("exchange_pending") }))), ...why(waiting)];
  if (waiting.declared) return h("div", { class: "card pad finding", "data-meter": waiting.meter }, ...head, h("p", { class: "said", text: w("exchange_declared") }));
  const displays = waiting.totals.flatMap((t) => [field(`${w("exchange_closing")} ${pick(t, "label")}（${t.unit}）`, `closing.${t.reading_type}`, NUMBER), field(`${w("exchange_opening")} ${pick(t, "label")}（${t.unit}）`, `opening.${t.reading_type}`, NUMBER)]);
  const photo = h("input", { type: "file", accept: "application/pdf,image/png,image/jpeg", required: true });
  const fields = [field(w("exchange_at"), "at", { type: "datetime-local", step: 1, required: true }), field(w("exchange_serial"), "serial", { type: "text", maxlength: 60, value: waiting.serial }), ...displays];
  const form = h("form", { class: "form card pad finding", "data-meter": waiting.meter }, ...head, h("div", { class: "pair" }, ...fields), h("textarea", { name: "reason", rows: 2, required: true, "aria-label": w("exchange_reason"), placeholder: w("exchange_reason") }), h("label", {}, h("b", { text: w("exchange_photo") }), photo), h("button", { class: "main", type: "submit", text: w("exchange_send") }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(photo.files[0], said(new FormData(form)));
  });
  return form;
}

function why(waiting) {
  const since = waiting.totals.map((t) => t.since).find(Boolean);
  return [since && h("p", { class: "muted", text: w("exchange_since", since.slice(0, 19).replace("T", " ")) }), waiting.serial && h("p", { class: "muted", text: w("exchange_heard", waiting.serial) })].filter(Boolean);
}

function said(data) {
  const body = { at: data.get("at"), serial: data.get("serial").trim(), reason: data.get("reason").trim(), closing: {}, opening: {} };
  for (const [name, value] of data) {
    const [side, total] = name.split(".");
    if (total) body[side][total] = value.trim();
  }
  return body;
}
