// The page's own words, in both languages. What comes from the API carries its own Chinese and English.

const WORDS = {
  skip: ["跳到内容", "Skip to content"],
  park: ["园区", "Park"],
  enterprises: ["企业", "Enterprises"],
  provisional: ["暂定", "Provisional"],
  provisional_why: ["月度关账之前的数字均为暂定", "Every figure is provisional until its month is closed"],
  power_now: ["当前功率", "Power now"],
  power_today: ["今日功率", "Power today"],
  mean_15: ["15 分钟平均，按边界公式", "15-minute means, by the boundary formula"],
  energy_today: ["今日电量", "Energy today"],
  co2_today: ["今日碳排放", "CO₂ today"],
  month_to_date: ["本月累计", "Month to date"],
  today: ["今日", "Today"],
  month: ["本月", "This month"],
  grid_import: ["关口受电", "Import at the grid boundary"],
  by_formula: ["按边界公式", "By the boundary formula"],
  pv: ["光伏", "PV"],
  export: ["上网", "Export"],
  incomplete: ["不完整：{meters} 无读数", "Incomplete: no reading from {meters}"],
  power_incomplete: ["缺 {meters} 的功率", "Power of {meters} is missing"],
  verification: ["月度核验", "Monthly verification"],
  scope: ["范围", "Scope"],
  outcome: ["结论", "Outcome"],
  purchased: ["购入电量", "Purchased energy"],
  emission: ["碳排放", "Emission"],
  reports: ["报告", "Reports"],
  no_months: ["尚无已关账的月份。", "No month has been closed yet."],
  findings: ["{n} 项提示", { one: "{n} finding", other: "{n} findings" }],
  not_printed: ["未打印", "not printed"],
  whole_park: ["全园区", "Whole park"],
  PASS: ["通过", "Pass"],
  PASS_WITH_FINDINGS: ["通过（有提示）", "Pass with findings"],
  FAIL: ["不通过", "Fail"],
  INSUFFICIENT_DATA: ["数据不足", "Insufficient data"],
  meters_gateways: ["网关与表计", "Gateways and meters"],
  gateway: ["网关", "Gateway"],
  meter: ["表计", "Meter"],
  role: ["角色", "Role"],
  model: ["型号", "Model"],
  power: ["功率", "Power"],
  state: ["状态", "State"],
  last_reading: ["最近读数", "Last reading"],
  ok: ["正常", "OK"],
  silent: ["无响应", "Silent"],
  pending: ["待确认", "Pending"],
  never: ["未上线", "Never read"],
  online: ["在线", "Online"],
  offline: ["离线", "Offline"],
  unheard: ["从未上线", "Never heard"],
  backlog: ["积压 {age}", "Backlog {age}"],
  states: ["{ok} 正常 · {bad} 需关注", "{ok} OK · {bad} need attention"],
  all_ok: ["全部 {ok} 块正常", "All {ok} OK"],
  factors: ["现行排放因子", "Emission factors in force"],
  published: ["发布", "Published"],
  source: ["来源", "Source"],
  data_year: ["数据年份", "Data year"],
  two_sources: ["两个来源一致，未核对原件", "Two sources agree; original not checked"],
  one_source: ["单一来源转录，未核对原件", "Transcribed from one source; original not checked"],
  unverified: ["未核实", "Not verified"],
  by_definition: ["按规则", "By definition"],
  footer: ["本页数字为暂定值，以月度核验报告为准。", "Figures on this page are provisional; the verified monthly report is what counts."],
  api_docs: ["接口文档", "API documentation"],
  connecting: ["连接中", "Connecting"],
  live: ["实时", "Live"],
  idle: ["无新数据", "No new data"],
  catching_up: ["追赶中", "Catching up"],
  reconnecting: ["重新连接", "Reconnecting"],
  waiting: ["等待数据", "Waiting for data"],
  catching_up_notice: [
    "正在补算历史数据：以下为 {time} 时的情况。",
    "Older readings are still arriving: this is the picture as of {time}.",
  ],
  waiting_notice: ["服务器尚无数据，稍后自动重试。", "The server has no data yet; trying again by itself."],
  lost_notice: ["与服务器的连接中断，数字可能已过时。", "The connection to the server is lost; figures may be out of date."],
  as_of: ["截至 {time}", "As of {time}"],
  ago: ["{age}前", "{age} ago"],
  just_now: ["刚刚", "just now"],
  s: ["{n} 秒", "{n} s"],
  min: ["{n} 分钟", "{n} min"],
  h: ["{n} 小时", "{n} h"],
  d: ["{n} 天", "{n} d"],
  chart: ["今日功率曲线，最新 {now}，最高 {max}", "Power today, latest {now}, highest {max}"],
  no_data: ["今日尚无数据", "No data yet today"],
  sign_in: ["登录", "Sign in"],
  sign_in_with: ["用 {name} 登录", "Sign in with {name}"],
  oidc_failed: ["未能登录：该账号未在本园区开通，或登录已过期。", "Not signed in: this account is not known in this park, or it took too long."],
  to_months: ["月度动态核查", "Monthly verification"],
  to_users: ["用户与密钥", "Users and keys"],
  use_code: ["使用一次性代码", "Use a one-time code"],
  welcome: ["设置密码", "Make a password"],
  one_time_code: ["一次性代码", "One-time code"],
  new_password: ["新密码（至少 12 个字符）", "New password, 12 characters or more"],
  new_password_again: ["再输入一次新密码", "The new password again"],
  passwords_differ: ["两次输入的密码不一致。", "The two passwords differ."],
  code_wrong: ["用户名或代码不正确，或代码已使用、已过期；请联系管理员重新发放。", "Name or code is not right, or the code is used or too old; ask the administrator for another."],
  back_to_login: ["返回登录", "Back to signing in"],
  to_form: ["企业月度填报", "Monthly form"],
  sign_out: ["退出", "Sign out"],
  user_name: ["用户名", "User name"],
  password: ["密码", "Password"],
  login_help: ["没有用户或忘记密码？请联系园区的系统管理员。", "No user, or password forgotten? Ask the administrator of your park."],
  login_empty: ["请输入用户名和密码。", "Enter user name and password."],
  login_wrong: ["用户名或密码不正确。", "User name or password is not right."],
  login_code: ["动态验证码或恢复码", "Code of the app, or a recovery code"],
  login_code_wrong: ["验证码不正确或已用过；请输入应用当前显示的验证码。没有第二因素时请联系管理员。", "That code is not right, or was used. Enter the one that the app shows now; without a second factor, ask the administrator."],
  login_wait: ["尝试次数过多，请在 {n} 秒后重试。", "Too many attempts; try again in {n} s."],
  login_failed: ["暂时无法登录，请稍后重试。", "Signing in does not work at the moment; try again later."],
  theme_light: ["切换到浅色", "Switch to light"],
  theme_dark: ["切换到深色", "Switch to dark"],
  to_language: ["Switch to English", "切换到中文"],
  download: ["下载 {name} {format} 报告", "Download the {format} report of {name}"],
};

let language = stored() ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");

function stored() {
  const found = localStorage.getItem("tanyun.language");
  return found === "zh" || found === "en" ? found : null;
}

export function lang() {
  return language;
}

export function locale() {
  return language === "zh" ? "zh-CN" : "en-GB";
}

export function useLanguage(next) {
  language = next;
  localStorage.setItem("tanyun.language", next);
}

/** The words for `key`, with `{name}` replaced. */
export function t(key, values = {}) {
  let text = (WORDS[key] ?? [key, key])[language === "zh" ? 0 : 1];
  if (typeof text === "object") text = values.n === 1 ? text.one : text.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** The value of a bilingual pair of fields: `label` reads `label_zh` or `label_en`. */
export function pick(object, field) {
  return object[`${field}_${language}`] ?? object[`${field}_zh`] ?? object[`${field}_en`] ?? "";
}

/** A name, in English when there is one and English is chosen. */
export function nameOf(object) {
  return (language === "en" && object.name_en) || object.name || object.id;
}

/** Put the words into the static parts of the page. */
export function translatePage() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-i18n]")) node.textContent = t(node.dataset.i18n);
  for (const node of document.querySelectorAll("[data-i18n-title]")) node.title = t(node.dataset.i18nTitle);
}
