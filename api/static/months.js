// The regulator's page: a heat map of all months, and one month with checks, findings, figures, differences and decisions.

import { differences } from "./differences.js";
import { h, say } from "./dom.js";
import { drill, table } from "./drill.js";
import { amount, inUnits, SHOWN } from "./exact.js";
import { joined, megawattHours, monthName, tonnes } from "./format.js";
import { lang, pick, useLanguage } from "./i18n.js";
import { change, may, toLogin, Unauthorized } from "./session.js";
import { applyWords, w } from "./words.js";

const MONTHS_SHOWN = 12;
const $ = (id) => document.getElementById(id);
const page = { board: [], chosen: null };

async function ask(path) {
  const response = await fetch(`/api/v1${path}`);
  if (response.status === 401) throw new Unauthorized(path);
  if (!response.ok) throw new Error((await response.json()).detail ?? response.statusText);
  return response.json();
}

async function guarded(work) {
  try {
    $("notice").hidden = true;
    await work();
  } catch (error) {
    if (error instanceof Unauthorized) toLogin();
    else tell(error.message);
  }
}

function tell(text) {
  say($("notice"), text);
  $("notice").hidden = false;
  $("notice").scrollIntoView({ block: "nearest" });
}

function status(key) {
  return h("span", { class: "status", "data-status": key }, h("i"), w(`status_${key}`));
}

function showBoard() {
  const months = [...new Set(page.board.map((s) => s.month))].sort().slice(-MONTHS_SHOWN);
  const scopes = [...new Map(page.board.map((s) => [`${s.scope_kind}/${s.scope_id}`, s])).values()].sort((a, b) => b.scope_kind.localeCompare(a.scope_kind) || a.scope_id.localeCompare(b.scope_id));
  const at = new Map(page.board.map((s) => [`${s.month}/${s.scope_kind}/${s.scope_id}`, s]));
  const head = h("tr", {}, h("th", { scope: "col", text: w("scope") }), ...months.map((m) => h("th", { scope: "col", text: m })));
  const rows = scopes.map((s) => h("tr", {}, h("th", { scope: "row", text: name(s) }), ...months.map((m) => h("td", {}, cell(at.get(`${m}/${s.scope_kind}/${s.scope_id}`))))));
  $("board").replaceChildren(page.board.length ? h("table", { class: "heat" }, h("thead", {}, head), h("tbody", {}, ...rows)) : h("p", { class: "none", text: w("nothing") }));
  const keys = ["open", "provisional", "under_review", "verified", "submitted"];
  $("legend").replaceChildren(...keys.map((key) => status(key)));
}

function name(s) {
  return s.scope_kind === "park" ? `${(lang() === "en" && s.name_en) || s.name}（${w("park")}）` : (lang() === "en" && s.name_en) || s.name;
}

function cell(s) {
  if (!s) return h("span", { class: "none", text: "—" });
  const late = s.days_left !== null && s.days_left < 0;
  const due = s.due ? `${s[`due_${lang()}`]} ${s.due.slice(5)}` : "";
  const chosen = page.chosen && key(page.chosen) === key(s);
  const button = h("button", { type: "button", class: "cell", "data-status": s.status, "aria-pressed": String(Boolean(chosen)), "aria-label": `${s.month} ${name(s)} ${w(`status_${s.status}`)} ${w(s.outcome)}` },
    h("b", { text: w(`status_${s.status}`) }), h("span", { text: w(s.outcome) }), s.unanswered ? h("span", { class: "warn", text: ` · ${s.unanswered} ${w("open_findings")}` }) : null,
    due ? h("div", { class: late ? "late" : "muted", text: due }) : null);
  button.addEventListener("click", () => choose(s));
  return button;
}

function key(s) {
  return `${s.month}/${s.scope_kind}/${s.scope_id}`;
}

function choose(s, revision = null) {
  location.hash = key(s);
  return guarded(async () => {
    page.chosen = s;
    const path = `/months/${key(s)}`;
    const wanted = revision ? `?revision=${revision}` : "";
    const [document_, life, revisions] = await Promise.all([ask(path + wanted), ask(`${path}/life${wanted}`), ask(`${path}/revisions`)]);
    await showDetail(s, document_, life, revisions);
    showBoard();
    $("detail").hidden = false;
    if (!revision) $("detail").focus();
  });
}

async function showDetail(s, doc, life, revisions) {
  say($("h-detail"), `${name(s)} ${monthName(doc.month)}`);
  $("chips").replaceChildren(h("span", { class: "chip", "data-kind": doc.outcome }, h("b", { text: w(doc.outcome) })), " ", status(life.status), " ", h("code", { text: life.code }));
  $("revision").replaceChildren(...revisions.map((r) => h("option", { value: r.revision, selected: r.revision === doc.revision, text: `r${r.revision}${r.reason ? ` · ${r.reason}` : ""}` })));
  $("revision").onchange = () => choose(s, Number($("revision").value));
  showFigures(doc);
  await showDecide(s, doc, life, revisions.at(-1).revision === doc.revision);
  const reports = revisions.find((r) => r.revision === doc.revision)?.reports ?? [];
  const differing = part(w("differences"), doc.revision > 1, ...(await differences(`/months/${key(s)}`, doc.revision, revisions, ask)));
  $("parts").replaceChildren(checks(doc, life), ...substituted(doc), meters(doc), differing, acts(life, s, doc), files(reports));
}

function showFigures(doc) {
  const primary = doc.totals.find((t) => t.primary);
  const bought = reportedOf(doc, "purchased_wh");
  const figures = [[w(bought.substituted === "0" ? "purchased" : "purchased_reported"), bought.reported && joined(megawattHours(bought.reported))], [primary ? pick(primary, "label") : "tCO₂", primary?.including_ug && `${joined(tonnes(primary.including_ug))}CO₂`]];
  $("figures").replaceChildren(...figures.map(([label, text]) => h("div", { class: "card kpi pad" }, h("div", { class: "label", text: label }), h("b", { text: text || "—" }))));
}

// Months of an older release have no such lines: what was measured is what was reported.
function reportedOf(doc, id) {
  return doc.reported.find((line) => line.id === id) ?? { measured: doc.energy.purchased_wh, substituted: "0", reported: doc.energy.purchased_wh };
}

async function showDecide(s, doc, life, newest) {
  const box = $("decide");
  const children = [];
  if (life.obstacles.length && newest) children.push(h("p", { class: "label", text: w("obstacles") }), h("ul", { class: "obstacles" }, ...life.obstacles.map((o) => h("li", { text: o }))));
  const rights = { approve: "month.review", return: "month.review", send: "month.prepare", submit: "month.submit" };
  const possible = [];
  for (const [action, right] of Object.entries(rights)) if (newest && life.actions.includes(action) && (await may(right, s.scope_id))) possible.push(action);
  const reason = h("textarea", { id: "reason", rows: 2, placeholder: w("reason") , "aria-label": w("reason") });
  const buttons = possible.map((action) => {
    const button = h("button", { type: "button", id: `do-${action}`, class: action === "approve" ? "main" : null, disabled: action === "approve" && life.obstacles.length > 0, text: w(`do_${action}`) });
    button.addEventListener("click", () => decide(s, action, reason.value));
    return button;
  });
  if (life.restatement && possible.includes("approve")) buttons.unshift(await wholeRestatement(s, life.restatement));
  if (possible.length) children.push(reason, h("div", { class: "actions" }, ...buttons, h("span", { class: "muted", text: `${w("prepared_by")}: ${life.preparers.join(", ") || "—"}` })));
  else children.push(h("p", { class: "muted", text: newest ? w("nothing_to_do") : w("older") }));
  box.replaceChildren(...children);
}

// One cause restated several months: they are approved together, all or none.
async function wholeRestatement(s, cause) {
  const months = await ask(`/restatements/${cause}`);
  const text = `${w("do_approve_all")} (${months.length}: ${[...new Set(months.map((m) => m.month))].join(", ")})`;
  const button = h("button", { type: "button", id: "do-approve-all", class: "main", text });
  button.addEventListener("click", () => send(s, `/api/v1/restatements/${cause}/approve`, {}));
  return button;
}

function decide(s, action, reason) {
  const path = `/api/v1/months/${key(s)}/${["approve", "return"].includes(action) ? `review/${action}` : action}`;
  return send(s, path, { reason });
}

function send(s, path, body) {
  return guarded(async () => {
    const response = await change("POST", path, body);
    if (!response.ok) throw new Error((await response.json()).detail);
    await load();
    await choose(page.board.find((x) => key(x) === key(s)) ?? s);
  });
}

function part(title, open, ...children) {
  return h("details", { class: "card part", open }, h("summary", { text: title }), h("div", {}, ...children));
}

function checks(doc, life) {
  const rows = doc.checks.map((c) => {
    const more = [[w("formula"), c.formula], ...c.inputs.map((i) => [i.name, i.value]), ...c.thresholds.map((t) => [`${t.id} (${t.official ? w("official") : w("ours")})`, `${t.value} ${t.unit} — ${t.source}`]), ...c.evidence.map((e) => [e.meter || "—", `${e.found}${e.expected ? ` / ${e.expected}` : ""}${e.segment === null ? "" : ` · ${w("journal")} ${e.segment}/${e.index}`}`])];
    const answered = life.acts.filter((a) => a.action === "answer" && a.subject === c.id);
    const body = h("details", {}, h("summary", { text: pick(c, "title") }), h("p", { text: pick(c, "detail") }), h("dl", {}, ...more.filter(([, v]) => v).flatMap(([k, v]) => [h("dt", { text: k }), h("dd", { text: v })])), ...answered.map((a) => h("p", { class: "said", text: `${a.actor}: ${a.reason}` })));
    return h("tr", {}, h("td", { text: c.id }), h("td", {}, body), h("td", { text: c.value }), h("td", { text: c.threshold }), h("td", {}, h("span", { class: "chip", "data-kind": c.outcome }, h("b", { text: w(c.outcome) }))));
  });
  return part(w("checks"), true, table(["", w("check"), w("found"), w("threshold"), w("outcome")], rows));
}

// Only where something was written down: each line its own, and who wrote and approved it.
function substituted(doc) {
  if (!doc.substitutions.length) return [];
  const lines = doc.reported.map((r) => h("tr", {}, h("td", { text: r.kind === "total" ? r.id : pick(r, "label") }), h("td", { text: SHOWN[r.unit][0] }), ...[r.measured, r.substituted, r.reported].map((value) => h("td", { class: "n", text: inUnits(value, r.unit) }))));
  const notes = doc.substitutions.map((s) => h("tr", {}, h("td", { text: `${s.meter} ${s.reading_type}` }), h("td", { text: [s.start, s.end].map((t) => t.slice(0, 16).replace("T", " ")).join(" → ") }), h("td", { class: "n", text: `${inUnits(s.amount, s.unit)} ${SHOWN[s.unit][0]}` }), h("td", { text: `${pick(s, "method")}：${s.reason}` }), h("td", { text: `${s.author} / ${s.approver || "—"}` }), h("td", {}, h("code", { text: s.evidence_sha256.slice(0, 12), title: s.evidence_sha256 })), h("td", { text: s.accepted ? w("accepted") : pick(s, "refused") })));
  return [part(w("substitutions"), true, table([w("item"), w("unit"), [w("measured")], [w("substituted")], [w("reported")]], lines), table([w("meter"), w("period"), [w("amount")], w("method"), w("approved_by"), "SHA-256", w("outcome")], notes))];
}

// The ratios that the month's readings were multiplied by, as the report prints them; CT and PT of the registry are those before any change.
function ratioOf(doc, line) {
  const applied = ["Wh", "varh"].includes(line.unit) ? doc.meter_facts.find((f) => f.meter === line.meter)?.applied_ratios ?? [] : [];
  return applied.length && `${applied}` !== "1" ? applied.join(" → ") : `${line.ct} × ${line.pt}`;
}

function meters(doc) {
  const rows = doc.meters.map((m) => {
    const edges = [...m.balance.opening_bracket, ...m.balance.closing_bracket];
    const unit = SHOWN[m.unit][0];
    const brackets = table([w("time"), [w("raw")], [unit], w("journal")], edges.map((e) => h("tr", {}, h("td", { text: e.t.slice(0, 19).replace("T", " ") }), h("td", { class: "n", text: e.raw }), h("td", { class: "n", text: inUnits(e.base_wh, m.unit) }), h("td", { text: `${e.segment}/${e.index}` }))));
    const ratio = ratioOf(doc, m);
    const readings = h("details", { "data-total": `${m.meter}/${m.reading_type}` }, h("summary", { text: `${m.meter} ${m.name}` }), h("p", { class: "muted", text: w("brackets") }), brackets, drill(m, doc.month, ratio, ask));
    return h("tr", {}, h("td", {}, readings), h("td", { text: pick(m, "role") }), h("td", { text: ratio }), h("td", { class: "n", text: inUnits(m.opening_wh, m.unit) }), h("td", { class: "n", text: inUnits(m.closing_wh, m.unit) }), h("td", { class: "n", text: amount(m.energy_wh, m.unit) }), h("td", { text: m.balance.equal ? w("equal") : w("not_equal") }));
  });
  return part(w("meters"), false, table([w("meter"), w("role"), "CT × PT", [w("opening")], [w("closing")], [w("month_energy")], w("balance")], rows));
}

function acts(life, s, doc) {
  const rows = life.acts.map((a) => {
    const file = a.file_sha256 ? h("a", { href: `/api/v1/months/${key(s)}/files/${a.file_sha256}?revision=${doc.revision}`, text: a.file_name || w("file") }) : null;
    return h("tr", {}, h("td", { text: new Date(a.at_ms).toLocaleString(lang() === "zh" ? "zh-CN" : "en-GB", { timeZone: doc.zone }) }), h("td", { text: a.actor }), h("td", { text: `${w(`act_${a.action}`)} ${a.subject}` }), h("td", { text: a.reason }), h("td", {}, file));
  });
  return part(w("acts"), false, table([w("time"), w("who"), w("what"), w("why"), w("file")], rows));
}

function files(reports) {
  const links = reports.map((r) => h("a", { href: r.href, download: true, text: r.format.toUpperCase() }));
  return part(w("reports"), true, h("p", { class: "actions" }, ...(links.length ? links : [h("span", { class: "muted", text: w("not_printed") })])));
}

async function load() {
  page.board = await ask("/board");
  showBoard();
}

function words() {
  applyWords();
  document.title = `${w("title")} · 碳云 tanyun`;
  $("lang").textContent = lang() === "zh" ? "EN" : "中";
  $("lang").setAttribute("aria-label", lang() === "zh" ? "Switch to English" : "切换到中文");
  $("code").placeholder = w("code");
}

$("lang").addEventListener("click", () => {
  useLanguage(lang() === "zh" ? "en" : "zh");
  words();
  showBoard();
  if (page.chosen) choose(page.chosen);
});
$("find").addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(async () => {
    const found = await ask(`/codes/${encodeURIComponent($("code").value.trim())}`);
    await choose(page.board.find((s) => key(s) === key(found)) ?? found, found.revision);
  });
});
words();
guarded(async () => {
  await load();
  const wanted = page.board.find((s) => key(s) === location.hash.slice(1));
  if (wanted) await choose(wanted);
});
