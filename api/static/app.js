// The page: one live document drives all of it; months are asked for now and then.

import { say } from "./dom.js";
import { Feed, getJson } from "./feed.js";
import { EnterprisesView, ParkView } from "./figures.js";
import * as format from "./format.js";
import { lang, nameOf, t, translatePage, useLanguage } from "./i18n.js";
import { mayAnywhere, session, signOut } from "./session.js";
import { FactorsView, GatewaysView, showMonths } from "./tables.js";

const MONTHS_EVERY_MS = 60_000;
const LINKS = { "to-months": "month.view", "to-form": "finding.answer", "to-users": "users.manage" };
const $ = (id) => document.getElementById(id);
const page = { live: null, months: [], skew: 0, state: "connecting", views: [] };

function build() {
  translatePage();
  page.views = [new ParkView(), new EnterprisesView(), new GatewaysView(), new FactorsView()];
  const dark = isDark();
  $("theme").textContent = dark ? "☀" : "☾";
  label($("theme"), t(dark ? "theme_light" : "theme_dark"));
  $("lang").textContent = lang() === "zh" ? "EN" : "中";
  label($("lang"), t("to_language"));
  $("lang").lang = lang() === "zh" ? "en" : "zh-CN";
  showMonths(page.months);
  render();
}

function label(button, text) {
  button.title = text;
  button.setAttribute("aria-label", text);
}

function render() {
  showState();
  if (!page.live) return;
  const nowMs = Date.now() + page.skew;
  const shown = page.live.park ?? page.live.enterprises[0];
  const name = shown ? nameOf(shown) : "";
  say($("park-name"), name);
  document.title = name ? `${name} · 碳云 tanyun` : "碳云 tanyun";
  $("park-section").hidden = !page.live.park;
  say($("as-of"), t("as_of", { time: format.clock(page.live.as_of_ms, page.live.zone, { date: true, seconds: true }) }));
  for (const view of page.views) view.update(page.live, nowMs);
  document.documentElement.dataset.ready = "true";
}

function showState() {
  const mode = page.state === "open" ? (page.live?.mode ?? "connecting") : page.state;
  $("connection").dataset.state = mode;
  say($("connection").lastChild, t(mode));
  const notice = noticeText(mode);
  $("notice").hidden = !notice;
  say($("notice"), notice);
}

function noticeText(mode) {
  if (mode === "waiting") return t("waiting_notice");
  if (mode === "reconnecting" && page.live) return t("lost_notice");
  if (mode !== "catching_up") return "";
  return t("catching_up_notice", { time: format.clock(page.live.as_of_ms, page.live.zone, { date: true }) });
}

async function askMonths() {
  if (!page.live) return;
  try {
    const months = await getJson("/api/v1/months");
    if (JSON.stringify(months) === JSON.stringify(page.months)) return;
    page.months = months;
    showMonths(months);
  } catch {
    // The feed shows that the server is away; the months stay as they are.
  }
}

async function showUser() {
  const user = await session().catch(() => null);
  $("user").hidden = !user;
  if (user) say($("user-name"), user.label || user.name);
  for (const [link, right] of Object.entries(LINKS)) $(link).hidden = !(user && (await mayAnywhere(right)));
  document.documentElement.dataset.linked = "true";
}

function isDark() {
  const chosen = localStorage.getItem("tanyun.theme");
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function applyTheme() {
  const chosen = localStorage.getItem("tanyun.theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
}

const feed = new Feed({
  onLive(live) {
    const first = page.live === null;
    page.live = live;
    page.skew = live.now_ms - Date.now();
    render();
    if (first) askMonths();
    if (first) showUser();
  },
  onState(state) {
    page.state = state;
    showState();
  },
});

$("sign-out").addEventListener("click", () => signOut());
$("lang").addEventListener("click", () => {
  useLanguage(lang() === "zh" ? "en" : "zh");
  build();
});
$("theme").addEventListener("click", () => {
  localStorage.setItem("tanyun.theme", isDark() ? "light" : "dark");
  applyTheme();
  build();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", build);

applyTheme();
build();
feed.start();
setInterval(askMonths, MONTHS_EVERY_MS);
setInterval(() => {
  if (page.live && page.live.mode !== "catching_up") render();
}, 1000);
