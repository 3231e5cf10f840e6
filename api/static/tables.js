// Gateways with their meters, verified months with their reports, factors in force.

import { h, say } from "./dom.js";
import * as format from "./format.js";
import { lang, nameOf, pick, t } from "./i18n.js";

const HEADS = ["meter", "role", "model", "power", "state", "last_reading"];

function chip(kind) {
  return h("span", { class: "chip", "data-kind": kind }, h("i"), h("b"));
}

function setChip(node, kind, text) {
  node.dataset.kind = kind;
  say(node.lastChild, text);
}

function cell(label, ...children) {
  return h("td", { "data-label": label }, ...children);
}

class MeterRow {
  constructor(meter) {
    this.power = h("span", { class: "num" });
    this.state = chip(meter.state);
    this.last = h("span", { class: "muted" });
    const roles = meter.roles.map((role) => pick(role, "label")).join(lang() === "zh" ? "、" : ", ");
    const name = h("th", { scope: "row" }, h("span", { text: meter.name || meter.id }), h("code", { text: meter.id }));
    if (meter.parent) name.classList.add("child");
    this.node = h("tr", null, name, cell(t("role"), roles), cell(t("model"), h("code", { text: meter.profile })),
      cell(t("power"), this.power), cell(t("state"), this.state), cell(t("last_reading"), this.last));
    this.node.children[3].classList.add("right");
  }

  update(meter, live, nowMs) {
    say(this.power, format.joined(format.power(meter.power_w)));
    setChip(this.state, meter.state, t(meter.state));
    say(this.last, lastReading(meter.last_reading_ms, live, nowMs));
  }
}

function lastReading(ms, live, nowMs) {
  if (ms === null) return "–";
  return live.mode === "catching_up" ? format.clock(ms, live.zone, { date: true }) : format.ago(nowMs - ms);
}

class GatewayPanel {
  constructor(gateway, meters) {
    this.state = chip("never");
    this.info = h("span", { class: "muted end" });
    this.rows = new Map(meters.map((meter) => [meter.id, new MeterRow(meter)]));
    const heads = HEADS.map((key) => h("th", { scope: "col", class: key === "power" ? "right" : null, text: t(key) }));
    this.node = h("div", { class: "card table-card" },
      h("div", { class: "gateway-head" }, h("h3", null, `${t("gateway")} `, h("code", { text: gateway.id })), this.state, this.info),
      h("table", { class: "meters" }, h("caption", { class: "hidden", text: `${t("gateway")} ${gateway.id}` }),
        h("thead", null, h("tr", null, ...heads)),
        h("tbody", null, ...[...this.rows.values()].map((row) => row.node))));
  }

  update(gateway, live, nowMs) {
    const kind = gateway.online === null ? "never" : gateway.online ? "ok" : "silent";
    setChip(this.state, kind, t({ never: "unheard", ok: "online", silent: "offline" }[kind]));
    const parts = [gateway.last_seen_ms === null ? null : format.ago(nowMs - gateway.last_seen_ms)];
    if (gateway.backlog_ms > 60_000) parts.push(t("backlog", { age: format.age(gateway.backlog_ms) }));
    say(this.info, parts.filter(Boolean).join(" · "));
  }
}

export class GatewaysView {
  constructor() {
    this.panels = new Map();
    this.host = document.getElementById("gateways");
    this.host.replaceChildren();
  }

  update(live, nowMs) {
    for (const gateway of live.gateways) {
      const meters = live.meters.filter((meter) => meter.gateway === gateway.id);
      if (!this.panels.has(gateway.id)) {
        const panel = new GatewayPanel(gateway, meters);
        this.panels.set(gateway.id, panel);
        this.host.append(panel.node);
      }
      const panel = this.panels.get(gateway.id);
      panel.update(gateway, live, nowMs);
      for (const meter of meters) panel.rows.get(meter.id)?.update(meter, live, nowMs);
    }
    const ok = live.meters.filter((meter) => meter.state === "ok").length;
    const bad = live.meters.length - ok;
    say(document.getElementById("meter-counts"), t(bad ? "states" : "all_ok", { ok, bad }));
  }
}

function reportLinks(month) {
  if (!month.reports.length) return [h("span", { class: "muted", text: t("not_printed") })];
  return month.reports.map(({ format: kind, href }) => {
    const title = t("download", { name: nameOf(month), format: kind.toUpperCase() });
    const link = h("a", { class: "button", href, download: true, "aria-label": title, text: kind.toUpperCase() });
    return link;
  });
}

function monthRow(month) {
  const park = month.scope_kind === "park";
  const outcome = chip(month.outcome);
  setChip(outcome, month.outcome, t(month.outcome));
  const findings = month.findings ? h("small", { class: "muted", text: t("findings", { n: month.findings }) }) : null;
  const shown = month.emissions.filter((figure) => park || figure.primary);
  shown.sort((a, b) => Number(b.primary) - Number(a.primary));
  const emissions = shown.map((figure) => h("div", { class: "emission" },
    h("b", { text: format.joined(format.tonnes(figure.emission_ug)) }), h("small", { class: "muted", text: pick(figure, "label") })));
  const scope = h("th", { scope: "row" }, h("span", { text: nameOf(month) }),
    h("small", { class: "muted", text: `${park ? `${t("whole_park")} · ` : ""}r${month.revision}` }));
  return h("tr", { class: park ? "total" : null }, scope, cell(t("outcome"), h("span", { class: "pair" }, outcome, findings)),
    cell(t("purchased"), h("b", { text: format.joined(format.megawattHours(month.purchased_wh)) })),
    cell(t("emission"), ...emissions), cell(t("reports"), h("span", { class: "buttons" }, ...reportLinks(month))));
}

/** The newest closed month: every enterprise, then the park. */
export function showMonths(months) {
  const host = document.getElementById("months");
  const newest = months[0]?.month;
  say(document.getElementById("month-label"), newest ? format.monthName(newest) : "");
  if (!newest) {
    host.replaceChildren(h("p", { class: "empty", text: t("no_months") }));
    return;
  }
  const rows = months.filter((month) => month.month === newest);
  rows.sort((a, b) => Number(a.scope_kind === "park") - Number(b.scope_kind === "park"));
  const heads = ["scope", "outcome", "purchased", "emission", "reports"].map((key) => h("th", { scope: "col", text: t(key) }));
  host.replaceChildren(h("table", { class: "months" }, h("caption", { class: "hidden", text: t("verification") }),
    h("thead", null, h("tr", null, ...heads)), h("tbody", null, ...rows.map(monthRow))));
}

function factorCard(factor) {
  const head = h("div", { class: "label", text: pick(factor, "policy") });
  if (!factor.id) {
    const reason = lang() === "zh" ? factor.reason_zh : factor.reason;
    return h("div", { class: "card factor" }, head, h("p", { class: "warn", text: `⚠ ${reason}` }));
  }
  const line = (key, value) => h("div", null, h("dt", { text: t(key) }), h("dd", { text: value ?? "–" }));
  const value = h("span", { class: "quantity big" }, h("b", { text: factor.value_kg_per_kwh }), h("small", { text: "kg CO₂/kWh" }));
  return h("div", { class: "card factor" }, head, value, h("div", { class: "sub", text: pick(factor, "label") }),
    h("dl", null, line("data_year", factor.data_year), line("source", factor.notice),
      line("published", factor.published), line("state", t(factor.verified))));
}

/** The factors of the open month; drawn again only when they change. */
export class FactorsView {
  constructor() {
    this.shown = null;
  }

  update(live) {
    const key = JSON.stringify([live.month, live.factors]);
    if (key === this.shown) return;
    this.shown = key;
    say(document.getElementById("factor-month"), format.monthName(live.month));
    document.getElementById("factors").replaceChildren(...live.factors.map(factorCard));
  }
}
