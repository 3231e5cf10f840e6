// Words of the pages about months, in both languages: [Chinese, English].

import { lang } from "./i18n.js";

const WORDS = {
  title: ["月度动态核查", "Monthly verification"], live: ["实时", "Live"], code: ["报告验证码", "Code of a report"], board: ["各企业各月", "All months at a glance"], revision: ["版次", "Revision"],
  scope: ["范围", "Scope"], park: ["园区", "park"], nothing: ["尚无已关账的月份。", "No month has been closed yet."], open_findings: ["项待答复", "unanswered"],
  status_open: ["未关账", "Open"], status_provisional: ["暂定", "Provisional"], status_under_review: ["核查中", "Under review"], status_verified: ["已核查", "Verified"], status_submitted: ["已报送", "Submitted"], status_restated: ["已更正", "Restated"],
  PASS: ["通过", "Pass"], PASS_WITH_FINDINGS: ["通过，有需说明事项", "Pass with findings"], FINDING: ["需说明", "Finding"], FAIL: ["不通过", "Fail"], INSUFFICIENT_DATA: ["数据不足", "Insufficient data"], NOT_DUE: ["未到期", "Not due"],
  purchased: ["购入电量", "Purchased electricity"], obstacles: ["以下事项妨碍“已核查”：", "In the way of “verified”:"], reason: ["理由（退回时必填）", "Reason (needed to return)"], prepared_by: ["编制", "prepared by"],
  nothing_to_do: ["您当前没有可对本月进行的操作。", "There is nothing for you to do here now."], older: ["这是较早的版次，只读。", "This is an older revision, read only."],
  do_approve: ["核查通过", "Approve"], do_approve_all: ["整批更正核查通过", "Approve the whole restatement"], do_return: ["退回", "Return"], do_send: ["提交核查", "Send for review"], do_submit: ["标记已报送", "Mark as submitted"],
  act_close: ["关账", "closed"], act_answer: ["答复", "answered"], act_send: ["提交核查", "sent for review"], act_return: ["退回", "returned"], act_approve: ["核查通过", "approved"], act_attach: ["上传盖章件", "attached"], act_submit: ["报送", "submitted"], act_restate: ["更正", "restated"],
  checks: ["校核", "Checks"], check: ["校核项", "Check"], found: ["结果值", "Found"], threshold: ["阈值", "Threshold"], outcome: ["结论", "Outcome"], formula: ["公式", "Formula"], official: ["官方", "official"], ours: ["本系统", "ours"], journal: ["日志", "journal"],
  meters: ["表计与原始读数", "Meters and raw readings"], meter: ["表计", "Meter"], role: ["角色", "Role"], opening: ["期初", "Opening"], closing: ["期末", "Closing"], month_energy: ["本月", "Month"], balance: ["平衡", "Balance"], equal: ["一致", "equal"], not_equal: ["不一致", "not equal"], time: ["时刻", "Time"], raw: ["原始值", "Raw"],
  brackets: ["月初、月末两侧的读数", "Readings around both month edges"], drill: ["逐日 → 15 分钟 → 读数", "Days → quarter hours → readings"], quarter: ["15 分钟", "Quarter hour"], total_opening: ["起", "From"], total_closing: ["止", "To"], energy: ["电量/用量", "Amount"], quality: ["质量", "Quality"], ledger_revision: ["台账版次", "Ledger revision"], received: ["收到时间", "Received"], frame: ["报文", "frame"],
  ledger_same: ["各日之和与本版数值一致。", "The days add up to this revision's figure."], ledger_moved: ["台账现值合计 {n}，与本版不同：关账之后台账有更新，或本版已被更正。", "The ledger now adds up to {n}, other than this revision: it was updated since, or this revision was restated."], ledger_only: ["台账现值合计 {n}；本版无数值。", "The ledger now adds up to {n}; this revision has no figure."],
  missing_quarters: ["缺 {n} 个 15 分钟", "{n} quarter hours missing"], no_frames: ["这一刻钟没有收到读数。", "No reading was received in this quarter hour."], as_said: ["表计原始示数，未乘变比（{n}）。", "As the meter said it, before the ratio ({n})."],
  quality_valid: ["有效", "valid"], quality_questionable: ["存疑", "questionable"], quality_estimated: ["估算", "estimated"], quality_edited: ["修订", "edited"], quality_derived: ["导出", "derived"], quality_projected: ["预测", "projected"],
  differences: ["版次之间的差异", "Differences between revisions"], against: ["对比", "against"], difference: ["差值", "Difference"], no_difference: ["两版数值相同。", "Both revisions have the same figures."], proofs: ["佐证位置", "What leads to the proof"], item: ["项目", "Item"], old: ["原值", "Old"], new: ["新值", "New"], first_revision: ["首版，无更正。", "First revision, nothing was corrected."],
  acts: ["办理记录", "What was done"], who: ["谁", "Who"], what: ["做了什么", "What"], why: ["理由", "Why"], file: ["附件", "File"], reports: ["报告", "Reports"], not_printed: ["未打印", "not printed"],
  form_title: ["企业月度填报", "Enterprise's monthly form"], month: ["月份", "Month"], enterprise: ["企业", "Enterprise"], save: ["保存填报", "Save"], saved: ["已保存，登记册第 {n} 版。", "Saved: revision {n} of the registry."], data: ["本月数据（最多十项，已预填）", "This month (ten fields at most, prefilled)"],
  output_10k_cny: ["工业总产值（万元）", "Output, 10,000 yuan"], value_added_10k_cny: ["工业增加值（万元）", "Value added, 10,000 yuan"], natural_gas_1e4nm3: ["天然气消费量（万Nm³）", "Natural gas used, 10⁴ Nm³"], diesel_t: ["柴油消费量（t）", "Diesel used, t"],
  bill_number: ["电费账单号", "Electricity bill no."], bill_start: ["上次抄表日", "Previous reading date"], bill_end: ["本次抄表日", "This reading date"], bill_opening: ["上次示数", "Previous reading"], bill_closing: ["本次示数", "This reading"], bill_kwh: ["结算电量（kWh）", "Billed, kWh"],
  my_findings: ["需说明事项", "Findings to answer"], no_findings: ["没有需要答复的事项。", "Nothing to answer."], answer: ["说明", "Explanation"], send_answer: ["提交说明", "Answer"], evidence_file: ["佐证文件（PDF、照片、表格）", "Evidence (PDF, photo, sheet)"], answered: ["已答复", "Answered"], optional_answer: ["可说明，不妨碍核查", "may be answered; keeps nothing from being verified"],
  exchanges: ["换表待确认", "Exchanged meters to confirm"], exchange_pending: ["待确认", "to be confirmed"], exchange_since: ["最后一个计入的读数：{n}", "Last reading that counted: {n}"], exchange_heard: ["表计现报的表号：{n}", "The meter now answers as {n}"],
  exchange_at: ["换表时间（当地）", "Exchanged at (local time)"], exchange_serial: ["新表出厂编号", "New meter's serial number"], exchange_closing: ["旧表止码", "Old meter's last display:"], exchange_opening: ["新表起码", "New meter's first display:"], exchange_reason: ["换表原因", "Why it was exchanged"], exchange_photo: ["新旧表显示照片", "Photo of both displays"], exchange_send: ["确认换表", "Confirm the exchange"], choose_photo: ["请先选择照片。", "Choose a photo first."],
  exchange_declared: ["已登记。数据处理随后从换表时刻起重算；已关账的月份须更正（原因：换表）。", "Declared. The stream then computes again from that moment on; closed months are restated for it."],
  substitutions: ["计量 + 数据替代 = 上报", "Measured + substituted = reported"], measured: ["计量", "Measured"], substituted: ["数据替代", "Substituted"], reported: ["上报", "Reported"], purchased_reported: ["购入电量（含数据替代）", "Purchased electricity, with substitutions"], period: ["时段", "From, to"], amount: ["替代量", "Amount"], method: ["方法与原因", "Method, reason"], approved_by: ["编制 / 复核", "By, approved by"], accepted: ["已采纳", "accepted"], unit: ["单位", "Unit"],
  scan: ["上传盖章扫描件", "Upload the stamped scan"], scan_hint: ["本月核查通过后，打印报告、盖章、扫描，在此上传。", "Once the month is verified: print the report, stamp it, scan it, upload it here."], upload: ["上传", "Upload"], uploaded: ["已上传：{n}", "Uploaded: {n}"], choose_file: ["请先选择文件。", "Choose a file first."], not_closed: ["本月尚未关账。", "This month is not closed yet."],
  users_title: ["用户与密钥", "Users and keys"], users: ["用户", "Users"], user: ["用户名", "User"], roles: ["角色", "Roles"], signs_in: ["登录方式", "Signs in"], second_factor: ["第二因素", "Second factor"], acts_on: ["操作", "Actions"],
  add_user: ["添加用户", "Add a user"], subject: ["统一认证标识（留空则用一次性代码设密码）", "Subject at the OpenID provider (empty: a password, made with a one-time code)"], whole_park: ["全园区", "Whole park"], tenant: ["范围", "For"], no_roles: ["无角色", "no roles"],
  role_installer: ["安装人员", "Installer"], role_operator: ["运维人员", "Operator"], role_enterprise: ["企业", "Enterprise"], role_verifier: ["核查员", "Verifier"], role_regulator: ["监管人员", "Regulator"], role_administrator: ["系统管理员", "Administrator"],
  remove: ["移除", "Remove"], remove_role: ["移除此角色", "Remove this role"], one_more_role: ["再加一个角色", "One more role"], change_roles: ["改角色", "Roles"], roles_of: ["{n} 的角色", "Roles of {n}"], save_roles: ["保存角色", "Save roles"],
  by_password: ["密码", "Password"], by_provider: ["统一认证", "OpenID provider"], no_password: ["尚未设密码", "No password yet"], code_until: ["一次性代码有效至 {n}", "one-time code until {n}"], code_over: ["一次性代码已于 {n} 失效", "one-time code ended {n}"],
  has_one: ["有", "Yes"], has_none: ["无", "None"], disabled: ["已停用", "Disabled"], yourself: ["您自己", "Yourself"], disable: ["停用", "Disable"], enable: ["启用", "Enable"], new_code: ["一次性代码", "One-time code"], give_factor: ["发第二因素", "New second factor"], drop_factor: ["取消第二因素", "Remove second factor"],
  sure_disable: ["停用 {n}？其会话立即结束，不能再登录。", "Disable {n}? Sessions end at once, and nobody signs in as {n} any more."], sure_factor: ["给 {n} 发新的第二因素？原有的立即失效，其会话结束。", "Give {n} a new second factor? The one before ends at once, and so do the sessions."], sure_drop_factor: ["取消 {n} 的第二因素？此后仅凭密码即可登录。", "Remove the second factor of {n}? The password alone opens then."],
  code_for: ["{n} 的一次性代码", "One-time code of {n}"], code_why: ["仅显示这一次。请当面或经可靠渠道交给本人；本人在登录页点“使用一次性代码”自设密码。有效至 {n}。", "Shown this once. Hand it over in person or over a safe way; the user makes a password with it, from “Use a one-time code” on the login page. Good until {n}."],
  factor_for: ["{n} 的第二因素", "Second factor of {n}"], factor_why: ["仅显示这一次。第一行供验证器应用录入，其余为恢复码，每个只能用一次。", "Shown this once. The first line is for the authenticator app; the others are recovery codes, each good once."],
  keys: ["机器密钥", "Keys of machines"], key: ["密钥", "Key"], opens_until: ["有效至", "Opens until"], add_key: ["生成密钥", "Make a key"], key_label: ["用途", "What for"], key_days: ["有效天数", "Days"], only_permissions: ["仅限以下权限（不选则为角色的全部权限）", "Only these permissions (none chosen: all of the roles')"], no_keys: ["尚无密钥。", "There is no key."],
  key_made: ["密钥 {n}", "Key {n}"], key_why: ["仅显示这一次，系统中不保存。", "Shown this once; it is stored nowhere."], revoke: ["吊销", "Revoke"], revoked: ["{n} 已吊销", "revoked {n}"], sure_revoke: ["吊销密钥 {n}？立即失效，不能恢复。", "Revoke the key {n}? It ends at once, for good."], noted: ["已记下", "I have noted it"], yes: ["确定", "Yes"], no: ["取消", "Cancel"], done_to: ["已完成：{n}", "Done: {n}"],
};

/** The words for a key in the page's language; the key itself where there are none. */
export function w(key, n = "") {
  return (WORDS[key] ?? [key, key])[lang() === "zh" ? 0 : 1].replace("{n}", n);
}

/** Put the words into the static parts of the page. */
export function applyWords() {
  document.documentElement.lang = lang() === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-w]")) node.textContent = w(node.dataset.w);
}
