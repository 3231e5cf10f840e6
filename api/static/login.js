// Signing in. The password goes to the server once; what is kept is a cookie that scripts cannot read.

import { lang, t, translatePage, useLanguage } from "./i18n.js";
import { signIn } from "./session.js";

const $ = (id) => document.getElementById(id);

let provider = null;

function build() {
  translatePage();
  $("oidc").hidden = !provider;
  $("oidc").textContent = t("sign_in_with", { name: provider ?? "" });
  document.title = `${t("sign_in")} · 碳云 tanyun`;
  $("lang").textContent = lang() === "zh" ? "EN" : "中";
  $("lang").setAttribute("aria-label", t("to_language"));
  const theme = localStorage.getItem("tanyun.theme");
  if (theme) document.documentElement.dataset.theme = theme;
}

/** Where to go: only a path of this very server, never another one. */
function next() {
  const wanted = new URLSearchParams(location.search).get("next") ?? "/";
  const url = new URL(wanted, location.origin);
  return url.origin === location.origin && url.pathname !== "/login" ? url.pathname + url.search + url.hash : "/";
}

function say(text) {
  $("wrong").hidden = !text;
  $("wrong").textContent = text;
}

/** The password was right; it stays in its field while the code is asked for. */
function askForCode() {
  const asked = !$("code").hidden;
  $("code").hidden = $("code-label").hidden = false;
  $("code").value = "";
  $("code").focus();
  say(asked ? t("login_code_wrong") : "");
}

$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [name, password] = [$("name").value.trim(), $("password").value];
  if (!name || !password) return say(t("login_empty"));
  $("enter").disabled = true;
  say("");
  const answer = await signIn(name, password, $("code").value.trim());
  if (answer.ok) return location.replace(next());
  $("enter").disabled = false;
  if (answer.title === "second factor") return askForCode();
  $("password").value = "";
  $("password").focus();
  if (answer.status === 429) return say(t("login_wait", { n: answer.wait }));
  return say(t(answer.status === 401 ? "login_wrong" : "login_failed"));
});
$("lang").addEventListener("click", () => {
  useLanguage(lang() === "zh" ? "en" : "zh");
  build();
});

build();
if (new URLSearchParams(location.search).get("failed") === "oidc") say(t("oidc_failed"));
fetch("/api/v1/session/ways")
  .then((answer) => answer.json())
  .then((ways) => {
    provider = ways.oidc;
    build();
  })
  .catch(() => {});
document.documentElement.dataset.ready = "true";
