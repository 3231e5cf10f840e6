// The administrator's page: who may come in, in which roles, and with which keys. Codes and keys are shown once, and kept nowhere.

import { h, say } from "./dom.js";
import { lang, nameOf, useLanguage } from "./i18n.js";
import { change, session, toLogin, Unauthorized } from "./session.js";
import { applyWords, w } from "./words.js";

const ROLES = ["installer", "operator", "enterprise", "verifier", "regulator", "administrator"];
const PARK_ONLY = ["administrator", "regulator"];
const PERMISSIONS = [
  "self", "registry.view", "registry.edit", "data.view", "events.view", "metrics.view", "month.view", "month.prepare", "month.review",
  "month.submit", "finding.answer", "delivery.send", "audit.view", "users.manage", "gateways.manage",
];
const PARK = "*";
const $ = (id) => document.getElementById(id);
const page = { users: [], keys: [], enterprises: [], me: null };

async function ask(path) {
  const response = await fetch(`/api/v1${path}`);
  if (response.status === 401) throw new Unauthorized(path);
  if (!response.ok) throw new Error((await response.json()).detail ?? response.statusText);
  return response.json();
}

async function sent(method, path, body) {
  const response = await change(method, `/api/v1${path}`, body);
  const answer = response.status === 204 ? null : await response.json();
  if (!response.ok) throw new Error(answer.detail);
  return answer;
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

/** One line of a list of roles: the role, and what for. */
function roleRow(grant, remove) {
  const tenants = [h("option", { value: PARK, text: w("whole_park") }), ...page.enterprises.map((e) => h("option", { value: e.id, text: nameOf(e) }))];
  const role = h("select", { "aria-label": w("role"), "data-role": true }, ...ROLES.map((r) => h("option", { value: r, text: w(`role_${r}`) })));
  const tenant = h("select", { "aria-label": w("tenant"), "data-tenant": true }, ...tenants);
  const row = h("div", { class: "role" }, role, tenant, h("button", { type: "button", text: w("remove"), "aria-label": w("remove_role") }));
  const fit = () => {
    tenant.options[0].disabled = role.value === "enterprise";
    for (const option of [...tenant.options].slice(1)) option.disabled = PARK_ONLY.includes(role.value);
    if (tenant.selectedOptions[0]?.disabled) tenant.value = [...tenant.options].find((option) => !option.disabled)?.value ?? PARK;
  };
  role.value = grant.role;
  tenant.value = grant.tenant;
  role.addEventListener("change", fit);
  row.lastChild.addEventListener("click", () => remove(row));
  fit();
  return row;
}

/** An editor of roles in a node; `grantsOf` reads it. */
function editRoles(node, grants) {
  const more = h("button", { type: "button", class: "more", text: w("one_more_role") });
  const remove = (row) => {
    const next = row.nextElementSibling;
    row.remove();
    (next.querySelector("select") ?? next).focus();
  };
  const add = (grant) => node.insertBefore(roleRow(grant, remove), more);
  node.replaceChildren(more);
  more.addEventListener("click", () => add({ role: "operator", tenant: PARK }).querySelector("select").focus());
  grants.forEach(add);
}

function grantsOf(node) {
  return [...node.querySelectorAll(".role")].map((row) => ({ role: row.querySelector("[data-role]").value, tenant: row.querySelector("[data-tenant]").value }));
}

function roles(grants) {
  const named = (id) => (id === PARK ? w("whole_park") : nameOf(page.enterprises.find((e) => e.id === id) ?? { id }));
  return h("ul", {}, ...grants.map((g) => h("li", { text: `${w(`role_${g.role}`)} · ${named(g.tenant)}` })), grants.length ? null : h("li", { class: "muted", text: w("no_roles") }));
}

function day(ms) {
  return new Date(ms).toLocaleString(lang() === "zh" ? "zh-CN" : "en-GB", { dateStyle: "medium", timeStyle: "short" });
}

function signsIn(user) {
  const way = user.subject ? w("by_provider") : w(user.has_password ? "by_password" : "no_password");
  const more = user.subject ?? (user.code_ends_ms ? w(user.code_ends_ms > Date.now() ? "code_until" : "code_over", day(user.code_ends_ms)) : null);
  return h("div", {}, way, more && h("small", { text: more }));
}

/** Show once what nobody will be told again. */
function tell(title, why, ...what) {
  say($("told-title"), title);
  say($("told-why"), why);
  $("told-what").replaceChildren(...what.map((text) => h("code", { class: "secret", text })));
  $("told").showModal();
}

/** What an open dialog is closed with. A closing is told afterwards: one told while it is open again is that of the question before. */
function closedWith(dialog) {
  dialog.returnValue = "";
  return new Promise((answer) => {
    dialog.onclose = () => dialog.open || answer(dialog.returnValue);
  });
}

async function sure(text) {
  say($("sure-what"), text);
  $("sure").showModal();
  $("sure-no").focus();
  return (await closedWith($("sure"))) === "yes";
}

function act(key, user, work) {
  const button = h("button", { type: "button", text: w(key), "aria-label": `${w(key)}: ${user}`, "data-act": key });
  button.addEventListener("click", () => guarded(async () => {
    const done = await work();
    if (done === false) return;
    await load();
    say($("done"), w("done_to", user));
    [...document.querySelectorAll(`[data-act="${key}"]`)].find((b) => b.getAttribute("aria-label").endsWith(`: ${user}`))?.focus();
  }));
  return button;
}

function userRow(user) {
  const path = `/users/${encodeURIComponent(user.name)}`;
  const mine = user.name === page.me;
  const acts = [
    act("change_roles", user.name, () => changeRoles(user)),
    user.subject ? null : act("new_code", user.name, async () => {
      const made = await sent("POST", `${path}/code`);
      tell(w("code_for", user.name), w("code_why", day(made.expires_ms)), made.code);
    }),
    act("give_factor", user.name, async () => {
      if (!(await sure(w("sure_factor", user.name)))) return false;
      const made = await sent("POST", `${path}/second-factor`);
      tell(w("factor_for", user.name), w("factor_why"), made.uri, ...made.recovery_codes);
    }),
    user.second_factor ? act("drop_factor", user.name, async () => (await sure(w("sure_drop_factor", user.name))) && sent("DELETE", `${path}/second-factor`)) : null,
    mine ? null : act(user.disabled ? "enable" : "disable", user.name, async () => (user.disabled || (await sure(w("sure_disable", user.name)))) && sent("PUT", `${path}/disabled`, { disabled: !user.disabled })),
  ];
  const remarks = [user.disabled ? "disabled" : null, mine ? "yourself" : null].filter(Boolean);
  return h(
    "tr", { "data-user": user.name },
    h("td", {}, h("span", { class: user.disabled ? "off" : "", text: user.name }), ...remarks.map((key) => h("small", { text: w(key) }))),
    h("td", {}, roles(user.grants)),
    h("td", {}, signsIn(user)),
    h("td", { text: w(user.second_factor ? "has_one" : "has_none") }),
    h("td", {}, h("div", { class: "acts" }, ...acts)),
  );
}

async function changeRoles(user) {
  say($("change-title"), w("roles_of", user.name));
  editRoles($("change-roles"), user.grants);
  $("change").showModal();
  $("change-form").onsubmit = (event) => {
    event.preventDefault();
    guarded(async () => {
      try {
        await sent("PUT", `/users/${encodeURIComponent(user.name)}/grants`, { grants: grantsOf($("change-roles")) });
        $("change").close("saved");
      } catch (error) {
        $("change").close();
        throw error;
      }
    });
  };
  return (await closedWith($("change"))) === "saved";
}

function keyRow(key) {
  const over = key.revoked_ms !== null || key.expires_ms <= Date.now();
  const label = `${key.label} ${key.id}`;
  const revoke = over ? null : act("revoke", label, async () => (await sure(w("sure_revoke", label))) && sent("DELETE", `/keys/${encodeURIComponent(key.id)}`));
  return h(
    "tr", { "data-key": key.id },
    h("td", {}, h("span", { class: over ? "off" : "", text: key.label }), h("small", { text: key.id })),
    h("td", {}, roles(key.grants), key.permissions.length ? h("small", { text: key.permissions.join(", ") }) : null),
    h("td", { text: key.revoked_ms ? w("revoked", day(key.revoked_ms)) : day(key.expires_ms) }),
    h("td", {}, h("div", { class: "acts" }, revoke)),
  );
}

async function load() {
  [page.users, page.keys] = await Promise.all([ask("/users"), ask("/keys")]);
  $("users").replaceChildren(...page.users.map(userRow));
  $("keys").replaceChildren(...(page.keys.length ? page.keys.map(keyRow) : [h("tr", {}, h("td", { colspan: 4, class: "muted", text: w("no_keys") }))]));
}

function build() {
  applyWords();
  document.title = `${w("users_title")} · 碳云 tanyun`;
  $("lang").textContent = lang() === "zh" ? "EN" : "中";
  $("lang").setAttribute("aria-label", lang() === "zh" ? "Switch to English" : "切换到中文");
  const theme = localStorage.getItem("tanyun.theme");
  if (theme) document.documentElement.dataset.theme = theme;
  editRoles($("add-roles"), [{ role: "enterprise", tenant: page.enterprises[0]?.id ?? PARK }]);
  editRoles($("key-roles"), [{ role: "operator", tenant: PARK }]);
}

$("add").addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(async () => {
    const [name, subject] = [$("add-name").value.trim(), $("add-subject").value.trim() || null];
    const made = await sent("POST", "/users", { name, subject, grants: grantsOf($("add-roles")) });
    $("add").reset();
    await load();
    say($("done"), w("done_to", name));
    if (made.code) tell(w("code_for", name), w("code_why", day(made.expires_ms)), made.code);
  });
});
$("add-key").addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(async () => {
    const permissions = [...$("key-only").querySelectorAll("input:checked")].map((box) => box.value);
    const made = await sent("POST", "/keys", { label: $("key-label").value.trim(), days: Number($("key-days").value), grants: grantsOf($("key-roles")), permissions });
    $("add-key").reset();
    await load();
    tell(w("key_made", made.id), w("key_why"), made.key);
  });
});
$("told-close").addEventListener("click", () => $("told").close());
$("told").addEventListener("close", () => $("told").open || $("told-what").replaceChildren());
$("sure-yes").addEventListener("click", () => $("sure").close("yes"));
$("sure-no").addEventListener("click", () => $("sure").close());
$("change-no").addEventListener("click", () => $("change").close());
$("lang").addEventListener("click", () => {
  useLanguage(lang() === "zh" ? "en" : "zh");
  build();
  guarded(load);
});
build();
guarded(async () => {
  const me = await session();
  page.me = me.name;
  page.enterprises = await ask("/enterprises");
  build();
  $("key-only").replaceChildren(...PERMISSIONS.map((name) => h("label", {}, h("input", { type: "checkbox", value: name }), name)));
  await load();
  document.documentElement.dataset.ready = "true";
});
