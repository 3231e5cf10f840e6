// Who is signed in. The session itself is a cookie that scripts cannot read; changes carry the CSRF token besides.

const SESSION = "/api/v1/session";
let current = null;

export class Unauthorized extends Error {}

/** Name, roles, permissions and CSRF token; asked once. Throws Unauthorized when nobody is signed in. */
export async function session() {
  if (!current) {
    const response = await fetch(SESSION);
    if (response.status === 401) throw new Unauthorized(SESSION);
    if (!response.ok) throw Object.assign(new Error(response.statusText), { status: response.status });
    current = await response.json();
  }
  return current;
}

/** True when the signed-in user holds a permission, for an enterprise or for the whole park. */
export async function may(permission, enterprise = null) {
  const held = (await session()).permissions[permission];
  return Boolean(held && (held.park || (enterprise && held.enterprises.includes(enterprise))));
}

/** True when the signed-in user holds a permission for anything at all. */
export async function mayAnywhere(permission) {
  const held = (await session()).permissions[permission];
  return Boolean(held && (held.park || held.enterprises.length));
}

/** A request that changes something: JSON, FormData or a file out, the response back; throws Unauthorized on 401. */
export async function change(method, path, body) {
  const headers = { "X-CSRF-Token": (await session()).csrf };
  const asIs = body === undefined || body instanceof FormData || body instanceof Blob;
  if (!asIs) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, body: asIs ? body : JSON.stringify(body) });
  if (response.status === 401) throw new Unauthorized(path);
  return response;
}

export async function signIn(name, password, code = "") {
  try {
    const response = await fetch(SESSION, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ name, password, code }),
    });
    const { title = "" } = await response.json().catch(() => ({}));
    return { ok: response.ok, status: response.status, title, wait: Number(response.headers.get("Retry-After") ?? 0) };
  } catch {
    return { ok: false, status: 0, title: "", wait: 0 };
  }
}

export async function signOut() {
  await change("DELETE", SESSION).catch(() => {});
  current = null;
  toLogin();
}

/** To the login page, and back here afterwards. */
export function toLogin() {
  const here = location.pathname + location.search + location.hash;
  location.assign(here === "/" ? "/login" : `/login?next=${encodeURIComponent(here)}`);
}
