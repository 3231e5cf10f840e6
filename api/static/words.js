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
