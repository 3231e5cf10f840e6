// Numbers and times as people read them. Exact integers stay text until here; a display needs no more than a double.

import { locale, t } from "./i18n.js";

const NOTHING = "–";
const formats = new Map();

function number(value, digits) {
  const key = `${locale()}:${digits}`;
  if (!formats.has(key)) {
    formats.set(key, new Intl.NumberFormat(locale(), { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  }
  return formats.get(key).format(value);
}

function scaled(value, steps) {
  const size = Math.abs(value);
  const [unit, divisor] = steps.find(([, , from]) => size >= from) ?? steps.at(-1);
  const shown = value / divisor;
  const digits = shown === 0 || Math.abs(shown) >= 1000 ? 0 : Math.abs(shown) >= 100 ? 1 : 2;
  return { value: number(shown, digits), unit };
}

/** Every formatter answers `{value, unit}`. */
export function power(watts) {
  if (watts === null || watts === undefined) return { value: NOTHING, unit: "" };
  return scaled(watts, [["MW", 1e6, 1e8], ["kW", 1e3, 0]]);
}

export function energy(wh) {
  if (wh === null || wh === undefined) return { value: NOTHING, unit: "" };
  return scaled(Number(wh), [["GWh", 1e9, 1e10], ["MWh", 1e6, 1e8], ["kWh", 1e3, 0]]);
}

export function mass(ug) {
  if (ug === null || ug === undefined) return { value: NOTHING, unit: "" };
  return scaled(Number(ug), [["t", 1e12, 1e14], ["kg", 1e9, 0]]);
}

export function tonnes(ug) {
  if (ug === null || ug === undefined) return { value: NOTHING, unit: "" };
  return { value: number(Number(ug) / 1e12, 2), unit: "t" };
}

export function megawattHours(wh) {
  if (wh === null || wh === undefined) return { value: NOTHING, unit: "" };
  return { value: number(Number(wh) / 1e6, 2), unit: "MWh" };
}

export function joined({ value, unit }) {
  return `${value} ${unit}`.trim();
}

/** A time of day in the park's zone, with the date when `date` is asked. */
export function clock(ms, zone, { date = false, seconds = false } = {}) {
  const parts = { timeZone: zone, hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (seconds) parts.second = "2-digit";
  if (date) Object.assign(parts, { year: "numeric", month: "2-digit", day: "2-digit" });
  return new Intl.DateTimeFormat(locale(), parts).format(ms);
}

export function age(ms) {
  const seconds = Math.max(Math.round(ms / 1000), 0);
  if (seconds < 90) return t("s", { n: seconds });
  if (seconds < 90 * 60) return t("min", { n: Math.round(seconds / 60) });
  if (seconds < 48 * 3600) return t("h", { n: Math.round(seconds / 3600) });
  return t("d", { n: Math.round(seconds / 86400) });
}

export function ago(ms) {
  return ms < 2000 ? t("just_now") : t("ago", { age: age(ms) });
}

/** `2026-10` as a month's name. */
export function monthName(month) {
  const [year, number_] = month.split("-").map(Number);
  return new Intl.DateTimeFormat(locale(), { year: "numeric", month: "long", timeZone: "UTC" }).format(Date.UTC(year, number_ - 1, 1));
}
