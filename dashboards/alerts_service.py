"""Alerts about our own services. The first is the only one that fires when nothing arrives at all; the others then stay as they were."""

from dashboards.alert import Alert, Ask, Both
from dashboards.alert_time import HOUR, MINUTE
from dashboards.influxql import RANGE, select, select_from
from dashboards.names import PIPELINE

_STATE = 10 * MINUTE
_ROLE = '"role"'
_ONLINE = select('last("online") AS "online"', "gateway", RANGE, by='"gateway"')

ALERTS = (
    Alert(
        key="service-serving",
        title=Both("看板数据停更", "Serving store stale"),
        severity="critical",
        meaning=Both("投影服务没有写入，或 InfluxDB 查询失败，或落后超过 15 分钟：看板与其他告警此时不可信。",
                     "The projector writes nothing, InfluxDB does not answer, or it is more than 15 minutes behind: "
                     "do not trust dashboards and other alerts now."),
        todo=Both("查看 tanyun projector 与 InfluxDB 是否运行；数据在账本中，恢复后自动补写。",
                  "See whether the projector and InfluxDB run; the ledger has the data, they are written when it is back."),
        group="service", board=PIPELINE, panel=2, who="",
        asks=[Ask("lag", select('last("lag_s")', "pipeline", RANGE, "\"role\" = 'projector'"), _STATE)],
        test="gt", limits=[15 * MINUTE], pending_s=5 * MINUTE, no_data="Alerting", on_error="Alerting",
    ),
    Alert(
        key="service-ingest",
        title=Both("没有收到新数据", "Nothing is being stored"),
        severity="critical",
        meaning=Both("有网关在线，却 15 分钟没有存入任何帧：接入服务可能已停止。",
                     "A gateway is online, yet no frame has been stored for 15 minutes: ingest may have stopped."),
        todo=Both("查看 tanyun ingest 与 Mosquitto 是否运行；网关会保存并补传。",
                  "See whether ingest and Mosquitto run; gateways keep their readings and send them later."),
        group="service", board=PIPELINE, panel=2, who="", shows="{{ humanizeDuration $values.idle.Value }}",
        asks=[Ask("idle", select('last("lag_s")', "pipeline", RANGE, "\"role\" = 'ingest'"), _STATE),
              Ask("online", select_from('max("online")', _ONLINE, RANGE), _STATE)],
        value="$idle * $online", test="gt", limits=[15 * MINUTE], pending_s=5 * MINUTE,
    ),
    Alert(
        key="service-down",
        title=Both("服务无响应", "Service does not answer"),
        severity="critical",
        meaning=Both("接口服务没有响应探测。", "A service of ours does not answer its probe."),
        todo=Both("查看该服务是否运行及其日志；运行 tanyun doctor。", "See whether it runs, and its log; run `tanyun doctor`."),
        group="service", board=PIPELINE, panel=2, who="role",
        asks=[Ask("up", select('last("up")', "pipeline", RANGE, by=_ROLE), _STATE)],
        test="lt", limits=[0.5], pending_s=5 * MINUTE,
    ),
    Alert(
        key="service-lag",
        title=Both("服务处理滞后", "Service lags behind"),
        severity="critical",
        meaning=Both("某个服务比它的输入落后 5 分钟以上，持续 10 分钟：可能已停止或过载。",
                     "A service has been more than 5 minutes behind its input for 10 minutes: stopped or overloaded."),
        todo=Both("查看该服务的日志与 CPU；运行 tanyun doctor。", "Read its log, look at the CPU; run `tanyun doctor`."),
        group="service", board=PIPELINE, panel=2, who="role", shows="{{ humanizeDuration $values.lag.Value }}",
        asks=[Ask("lag", select('last("lag_s")', "pipeline", RANGE, "\"role\" != 'projector'", "\"role\" != 'ingest'", by=_ROLE), _STATE)],
        test="gt", limits=[5 * MINUTE], pending_s=10 * MINUTE,
    ),
    Alert(
        key="service-refused",
        title=Both("有帧被拒收", "Frames refused"),
        severity="warning",
        meaning=Both("过去一小时有帧被隔离：格式错误、未登记的网关或冲突。",
                     "Frames were quarantined in the last hour: malformed, from an unknown gateway, or in conflict."),
        todo=Both("查看隔离原因，登记网关或更正配置；被隔离的帧仍保存着。",
                  "See the reasons; register the gateway or correct its configuration. The frames are kept."),
        group="service", board=PIPELINE, panel=8, who="role", shows="{{ $values.refused.Value }}",
        asks=[Ask("refused", select('spread("quarantined_total")', "pipeline", RANGE, by=_ROLE), HOUR)],
        test="gt", limits=[0], pending_s=5 * MINUTE,
    ),
    Alert(
        key="service-disk",
        title=Both("磁盘将满", "Disk nearly full"),
        severity="critical",
        meaning=Both("剩余空间不足 5 GB；写满后不再确认新数据，网关将积压。",
                     "Less than 5 GB are free; a full disk stops acknowledging, and gateways pile up their readings."),
        todo=Both("扩容或清理备份与日志；不要删除日志库。", "Add space or remove backups and logs; never the journal."),
        group="service", board=PIPELINE, panel=4, who="role", shows="{{ humanize1024 $values.free.Value }}B",
        asks=[Ask("free", select('last("disk_free_bytes")', "pipeline", RANGE, by=_ROLE), _STATE)],
        test="lt", limits=[5_000_000_000], pending_s=10 * MINUTE,
    ),
)  # fmt: skip
