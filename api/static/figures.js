// Live figures: the park's four numbers and curve, and a card per enterprise. Built once, then updated in place.

import { PowerChart } from "./charts.js";
import { h, quantity, say, show } from "./dom.js";
import * as format from "./format.js";
import { lang, nameOf, pick, t } from "./i18n.js";

const primaryOf = (emissions) => emissions.find((figure) => figure.primary) ?? emissions[0];

/** An emission; a dash when there is none. */
function showEmission(node, figure, as = format.mass) {
  const { value, unit } = as(figure.emission_ug);
  show(node, { value, unit: unit && `${unit} CO₂` });
}

/** Why there is no emission. */
function reasonOf(figure) {
  return (lang() === "en" ? figure.reason : figure.reason_zh) ?? "";
}

function tile(label, note) {
  const number = quantity("big");
  const sub = h("div", { class: "sub", text: note ?? "" });
  return { number, sub, node: h("div", { class: "card kpi" }, h("h3", { text: label }), number, sub) };
}

export class ParkView {
  constructor() {
    this.power = tile(t("power_now"));
    this.energy = tile(t("energy_today"), t("by_formula"));
    this.co2 = tile(t("co2_today"));
    this.month = tile(t("month_to_date"));
    document.getElementById("kpis").replaceChildren(this.power.node, this.energy.node, this.co2.node, this.month.node);
    this.chart = new PowerChart(document.getElementById("park-chart"), { axes: true, height: 220 });
  }

  update(live) {
    const { park } = live;
    if (!park) return;
    show(this.power.number, format.power(park.power_w));
    say(this.power.sub, sidePowers(park) || t("grid_import"));
    show(this.energy.number, format.energy(park.today.energy_wh));
    say(this.energy.sub, warningOf(park.today) || t("by_formula"));
    showEmission(this.co2.number, primaryOf(park.today.emissions));
    this.labelled(this.co2.sub, park.today.emissions, format.mass);
    show(this.month.number, format.megawattHours(park.month.energy_wh));
    this.labelled(this.month.sub, park.month.emissions, format.tonnes);
    this.chart.update(park.power_15min_w, live.day_start_ms, live.day_end_ms, live.zone);
  }

  /** Provincial and national figure, each with its label. */
  labelled(node, emissions, as) {
    while (node.childElementCount < emissions.length) node.append(h("div", null, h("span"), h("b")));
    emissions.forEach((figure, index) => {
      const [label, value] = node.children[index].children;
      say(label, pick(figure, "label"));
      value.classList.toggle("why", figure.emission_ug === null);
      say(value, figure.emission_ug === null ? reasonOf(figure) : format.joined(as(figure.emission_ug)));
    });
  }
}

function sidePowers(figures) {
  const parts = [];
  if (figures.power_missing.length) parts.push(`⚠ ${t("power_incomplete", { meters: figures.power_missing.join(", ") })}`);
  if (figures.pv_w !== null) parts.push(`${t("pv")} ${format.joined(format.power(figures.pv_w))}`);
  if (figures.export_w) parts.push(`${t("export")} ${format.joined(format.power(figures.export_w))}`);
  return parts.join(" · ");
}

function warningOf(period) {
  return period.missing_meters.length ? `⚠ ${t("incomplete", { meters: period.missing_meters.join(", ") })}` : "";
}

class EnterpriseCard {
  constructor(figures) {
    this.power = quantity("big");
    this.side = h("div", { class: "sub" });
    this.warning = h("div", { class: "sub warn" });
    const host = h("div", { class: "chart" });
    this.stats = ["today", "month"].map((key) => ({ key, energy: quantity(), co2: quantity() }));
    this.factor = h("div", { class: "sub foot" });
    this.node = h("article", { class: "card enterprise" },
      h("header", null, h("h3", { text: nameOf(figures) })),
      h("div", { class: "now" }, h("div", null, h("div", { class: "label", text: t("power_now") }), this.power), this.side),
      host,
      h("dl", { class: "stats" }, ...this.stats.flatMap(({ key, energy, co2 }) => [
        h("div", null, h("dt", { text: t(key) }), h("dd", null, energy), h("dd", null, co2)),
      ])),
      this.warning, this.factor);
    this.chart = new PowerChart(host, { height: 72 });
  }

  update(figures, live) {
    show(this.power, format.power(figures.power_w));
    say(this.side, sidePowers(figures));
    for (const { key, energy, co2 } of this.stats) {
      const [asEnergy, asMass] = key === "month" ? [format.megawattHours, format.tonnes] : [format.energy, format.mass];
      show(energy, asEnergy(figures[key].energy_wh));
      showEmission(co2, primaryOf(figures[key].emissions), asMass);
    }
    const primary = primaryOf(figures.today.emissions);
    say(this.factor, primary.factor_id === null ? reasonOf(primary) : pick(primary, "label"));
    say(this.warning, warningOf(figures.today));
    this.chart.update(figures.power_15min_w, live.day_start_ms, live.day_end_ms, live.zone);
  }
}

export class EnterprisesView {
  constructor() {
    this.cards = new Map();
    this.host = document.getElementById("enterprises");
    this.host.replaceChildren();
  }

  update(live) {
    for (const figures of live.enterprises) {
      if (!this.cards.has(figures.id)) {
        const card = new EnterpriseCard(figures);
        this.cards.set(figures.id, card);
        this.host.append(card.node);
      }
      this.cards.get(figures.id).update(figures, live);
    }
  }
}
