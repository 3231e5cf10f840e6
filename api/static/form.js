// The enterprise's page: the monthly form, its findings, and the stamped scan. Made for a phone.

import { h, say } from "./dom.js";
import { exchangeForm } from "./exchange.js";
import { lang, nameOf, pick, useLanguage } from "./i18n.js";
import { change, toLogin, Unauthorized } from "./session.js";
import { applyWords, w } from "./words.js";

const DATES = ["bill_start", "bill_end"];
const TEXTS = ["bill_number"];
const $ = (id) => document.getElementById(id);
const page = { values: {}, document: null, life: null, exchanges: [] };

async function ask(path) {
  const response = await fetch(`/api/v1${path}`);
  if (response.status === 401) throw new Unauthorized(path);
  if (response.status === 404) return null;
  if (!response.ok) throw new Error((await response.json()).detail ?? response.statusText);
  return response.json();
}

async function guarded(work) {
  try {
    $("notice").hidden = true;
    await work();
  } catch (error) {
    if (error instanceof Unauthorized) return toLogin();
    say($("notice"), error.message);
    $("notice").hidden = false;
    $("notice").scrollIntoView({ block: "nearest" });
  }
}

async function sent(method, path, body) {
  const response = await change(method, `/api/v1${path}`, body);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail);
  return answer;
}

function which() {
  return `${$("month").value}/${$("enterprise").value}`;
}

function monthPath() {
  return `/months/${$("month").value}/enterprise/${$("enterprise").value}`;
}

async function load() {
  if (!$("month").value || !$("enterprise").value) return;
  say($("saved"), "");
  say($("scanned"), "");
  [page.values, page.document, page.life, page.exchanges] = await Promise.all([ask(`/forms/${which()}`), ask(monthPath()), ask(`${monthPath()}/life`), ask("/exchanges/pending")]);
  showFields();
  showExchanges();
  showFindings();
}

function showFields() {
  $("fields").replaceChildren(...Object.entries(page.values ?? {}).map(([name, value]) => {
    const kind = DATES.includes(name) ? { type: "date" } : TEXTS.includes(name) ? { type: "text", maxlength: 60 } : { type: "text", inputmode: "decimal", pattern: "-?[0-9]+([.][0-9]+)?" };
    return h("label", {}, h("b", { text: w(name) }), h("input", { name, id: `f-${name}`, value: value ?? "", autocomplete: "off", ...kind }));
  }));
}

// 换表待确认: meters of the enterprise that wait, whatever the month.
function showExchanges() {
  const mine = page.exchanges.filter((x) => x.enterprise === $("enterprise").value);
  $("exchanges").hidden = mine.length === 0;
  $("exchange-forms").replaceChildren(...mine.map((x) => exchangeForm(x, (file, body) => guarded(async () => {
    if (!file) throw new Error(w("choose_photo"));
    const kept = await fileBody(file);
    await sent("POST", `/meters/${encodeURIComponent(x.meter)}/exchange`, { ...body, photo_sha256: kept.sha256 });
    await load();
  }))));
}

function showFindings() {
  if (!page.document || !page.life) {
    $("state").replaceChildren();
    $("findings").replaceChildren(h("p", { class: "card pad muted", text: w("not_closed") }));
    return;
  }
  $("state").replaceChildren(h("span", { "data-status": page.life.status, class: "legend" }, h("span", {}, h("i"), w(`status_${page.life.status}`))));
  const found = page.document.checks.filter((c) => !["PASS", "NOT_DUE"].includes(c.outcome));
  $("findings").replaceChildren(...(found.length ? found.map(finding) : [h("p", { class: "card pad muted", text: w("no_findings") })]));
}

function finding(check) {
  const answers = page.life.acts.filter((a) => a.action === "answer" && a.subject === check.id);
  const text = h("textarea", { rows: 3, required: true, "aria-label": `${check.id} ${w("answer")}`, placeholder: w("answer") });
  const file = h("input", { type: "file", accept: "application/pdf,image/png,image/jpeg,.xlsx", "aria-label": w("evidence_file") });
  const open = page.life.actions.includes("answer");
  const form = h("form", { class: "form card pad finding", "data-check": check.id }, h("div", {}, h("b", { text: `${check.id} ${pick(check, "title")}` }), " ", h("span", { class: "chip", "data-kind": check.outcome }, h("b", { text: w(check.outcome) })), minor(check) ? h("span", { class: "muted", text: ` ${w("optional_answer")}` }) : null), h("p", { text: pick(check, "detail") }),
    ...answers.map((a) => h("p", { class: "said", text: `${w("answered")} · ${a.actor}: ${a.reason}` })), ...(open ? [text, h("label", {}, w("evidence_file"), file), h("button", { type: "submit", text: w("send_answer") })] : []));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(async () => {
      const kept = file.files[0] ? await uploaded(file.files[0]) : {};
      await sent("POST", `${monthPath()}/answer`, { reason: text.value, check: check.id, ...kept });
      await load();
    });
  });
  return form;
}

// A finding of a minor check may be answered; it keeps no month from being verified.
function minor(check) {
  return check.outcome === "FINDING" && check.severity === "minor";
}

async function uploaded(file) {
  const form = await fileBody(file);
  return { file_sha256: form.sha256, file_name: file.name };
}

async function fileBody(file) {
  const response = await change("POST", `/api/v1/uploads/files?name=${encodeURIComponent(file.name)}`, file);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail);
  return answer;
}

function words() {
  applyWords();
  $("lang").textContent = lang() === "zh" ? "EN" : "中";
  $("lang").setAttribute("aria-label", lang() === "zh" ? "Switch to English" : "切换到中文");
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(async () => {
    const values = Object.fromEntries([...new FormData($("form"))].map(([name, value]) => [name, TEXTS.includes(name) ? value.trim() : value.trim() || null]));
    const answer = await sent("POST", `/forms/${which()}`, values);
    say($("saved"), w("saved", answer.registry_revision));
  });
});
$("scan").addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(async () => {
    const file = $("scan-file").files[0];
    if (!file) throw new Error(w("choose_file"));
    const kept = await uploaded(file);
    await sent("POST", `${monthPath()}/attach`, kept);
    await load();
    say($("scanned"), w("uploaded", kept.file_sha256.slice(0, 16)));
  });
});
$("which").addEventListener("change", () => guarded(load));
$("which").addEventListener("submit", (event) => event.preventDefault());
$("lang").addEventListener("click", () => {
  useLanguage(lang() === "zh" ? "en" : "zh");
  words();
  guarded(load);
});
words();
guarded(async () => {
  const registry = { enterprises: await ask("/enterprises") };
  $("enterprise").replaceChildren(...registry.enterprises.map((e) => h("option", { value: e.id, text: nameOf(e) })));
  const today = new Date();
  const before = new Date(today.getFullYear(), today.getMonth() - 1, 15);
  const wanted = new URLSearchParams(location.search).get("month");
  $("month").value = wanted ?? `${before.getFullYear()}-${String(before.getMonth() + 1).padStart(2, "0")}`;
  await load();
});
