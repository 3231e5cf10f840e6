// A user's own password, made with the one-time code that the administrator handed over. Then to the login page.

import { lang, t, translatePage, useLanguage } from "./i18n.js";

const $ = (id) => document.getElementById(id);

function build() {
  translatePage();
  document.title = `${t("welcome")} · 碳云 tanyun`;
  $("lang").textContent = lang() === "zh" ? "EN" : "中";
  $("lang").setAttribute("aria-label", t("to_language"));
  const theme = localStorage.getItem("tanyun.theme");
  if (theme) document.documentElement.dataset.theme = theme;
}

function say(text) {
  $("wrong").hidden = !text;
  $("wrong").textContent = text;
}

async function told(response) {
  if (response.status === 401) return t("code_wrong");
  if (response.status === 429) return t("login_wait", { n: response.headers.get("Retry-After") ?? "" });
  const { detail } = await response.json().catch(() => ({}));
  return detail ?? t("login_failed");
}

$("welcome-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [name, code, password] = [$("name").value.trim(), $("code").value.trim(), $("password").value];
  if (!name || !code || !password) return say(t("login_empty"));
  if (password !== $("again").value) return say(t("passwords_differ"));
  say("");
  $("enter").disabled = true;
  try {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch("/api/v1/session/code", { method: "POST", headers, body: JSON.stringify({ name, code, password }) });
    if (response.ok) return location.replace("/login");
    say(await told(response));
  } catch {
    say(t("login_failed"));
  }
  $("enter").disabled = false;
});
$("lang").addEventListener("click", () => {
  useLanguage(lang() === "zh" ? "en" : "zh");
  build();
});
build();
document.documentElement.dataset.ready = "true";
