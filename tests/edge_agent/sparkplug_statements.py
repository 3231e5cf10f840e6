"""The normative statements of Eclipse Sparkplug 3.0 by their `tck-id`: which of them bind an edge node with devices, and a check of each.

The ids are those of the specification's TCK (chapters 2 to 6); the wording of the checks is ours. A check gets what passed on the
wire between a gateway and a real broker, read with our tap and Google's protobuf: nothing of the code under test.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakes.mqtt_tap import DISCONNECT, PUBLISH, Connection, Publish, read_publish
from tests.fakes.sparkplug_proto import parse, value_of

GROUP, NODE, HOST = "park", "gw", "tanyun"
STATE = f"spBv1.0/STATE/{HOST}"
DEVICES = ("m1", "m2")


@dataclass(frozen=True)
class Said:
    """One message of the gateway under `spBv1.0`."""

    connection: int
    verb: str
    device: str
    publish: Publish
    payload: Any


@dataclass(frozen=True)
class Run:
    """All connections of a gateway's run."""

    connections: list[Connection]
    since_ms: int
    until_ms: int
    idle_node: int
    """NDATA that would have been sent without a change of the node's own metrics."""

    def said(self, *verbs: str) -> list[Said]:
        """What the gateway published under these verbs (all of them without any), wills aside."""
        return [item for item in self._all() if not verbs or item.verb in verbs]

    def _all(self) -> Iterator[Said]:
        for number, connection in enumerate(self.connections):
            for publish in connection.publishes:
                parts = publish.topic.split("/")
                if parts[0] == "spBv1.0":
                    device = parts[4] if len(parts) > 4 else ""
                    yield Said(number, parts[2], device, publish, parse(publish.payload))

    def of_connection(self, number: int) -> list[Said]:
        """The messages of one connection."""
        return [item for item in self.said() if item.connection == number]


Check = Callable[[Run], None]
CHECKS: dict[str, Check] = {}
"""tck-id → its check."""


def checks(*ids: str) -> Callable[[Check], Check]:
    """Register a check for some statements that say the same."""

    def register(check: Check) -> Check:
        for id_ in ids:
            assert f"tck-id-{id_}" not in CHECKS, id_
            CHECKS[f"tck-id-{id_}"] = check
        return check

    return register


def metric(said: Said, name: str) -> Any:
    """A metric of a birth by its name."""
    return next(item for item in said.payload.metrics if item.name == name)


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


# --- topics ---------------------------------------------------------------------------------------------------------------------


@checks(
    "intro-group-id-string", "intro-group-id-chars", "intro-edge-node-id-string", "intro-edge-node-id-chars",
    "intro-device-id-string", "intro-device-id-chars", "topic-structure", "topic-structure-namespace-a",
    "topic-structure-namespace-valid-group-id", "topic-structure-namespace-valid-edge-node-id",
    "topic-structure-namespace-valid-device-id", "topic-structure-namespace-device-id-associated-message-types",
    "topic-structure-namespace-device-id-non-associated-message-types",
    "topics-nbirth-topic", "topics-ndata-topic", "topics-ndeath-topic", "topics-dbirth-topic", "topics-ddata-topic", "topics-ddeath-topic",
    "message-flow-edge-node-birth-publish-nbirth-topic", "message-flow-device-birth-publish-dbirth-topic",
    "message-flow-device-birth-publish-dbirth-match-edge-node-topic",
)  # fmt: skip
def topics_have_the_form_of_their_verb(run: Run) -> None:
    for item in run.said():
        node = ["spBv1.0", GROUP, item.verb, NODE]
        device = [item.device] if item.verb in {"DBIRTH", "DDATA", "DDEATH"} else []
        assert item.publish.topic.split("/") == node + device
        assert item.device in {"", *DEVICES}
        assert not set(item.publish.topic) & {"+", "#"}


@checks("topic-structure-namespace-unique-device-id")
def a_device_id_stands_for_one_device(run: Run) -> None:
    for number in range(len(run.connections)):
        births = [item.device for item in run.of_connection(number) if item.verb == "DBIRTH"]
        assert set(births) <= set(DEVICES)


# --- how it is published --------------------------------------------------------------------------------------------------------


@checks(
    "topics-nbirth-mqtt", "topics-ndata-mqtt", "topics-dbirth-mqtt", "topics-ddata-mqtt", "topics-ddeath-mqtt",
    "payloads-nbirth-qos", "payloads-nbirth-retain", "payloads-dbirth-qos", "payloads-dbirth-retain", "payloads-ndata-qos",
    "payloads-ndata-retain", "payloads-ddata-qos", "payloads-ddata-retain",
    "message-flow-edge-node-birth-publish-nbirth-qos", "message-flow-edge-node-birth-publish-nbirth-retained",
    "message-flow-device-birth-publish-dbirth-qos", "message-flow-device-birth-publish-dbirth-retained",
)  # fmt: skip
def births_and_data_have_qos_0_and_are_not_retained(run: Run) -> None:
    for verb in ("NBIRTH", "DBIRTH", "NDATA", "DDATA", "DDEATH"):
        found = run.said(verb)
        assert found, verb
        assert all((item.publish.qos, item.publish.retain) == (0, False) for item in found), verb


@checks("principles-persistence-clean-session", "principles-persistence-clean-session-311")
def every_connect_has_a_clean_session(run: Run) -> None:
    assert all(connection.connect.clean_session for connection in run.connections)


@checks(
    "payloads-ndeath-will-message", "payloads-ndeath-will-message-qos", "payloads-ndeath-will-message-retain",
    "message-flow-edge-node-birth-publish-will-message", "message-flow-edge-node-birth-publish-will-message-topic",
    "message-flow-edge-node-birth-publish-will-message-payload", "message-flow-edge-node-birth-publish-will-message-qos",
    "message-flow-edge-node-birth-publish-will-message-will-retained",
)  # fmt: skip
def the_will_is_an_ndeath_of_qos_1_not_retained(run: Run) -> None:
    for connection in run.connections:
        will = connection.connect.will
        assert will is not None
        assert (will.topic, will.qos, will.retain) == (f"spBv1.0/{GROUP}/NDEATH/{NODE}", 1, False)
        assert parse(will.payload).metrics


@checks(
    "message-flow-edge-node-ncmd-subscribe",
    "operational-behavior-primary-application-state-with-multiple-servers-state-subs",
)
def it_subscribes_to_its_commands_and_to_the_hosts_state(run: Run) -> None:
    for connection in run.connections:
        assert connection.subscriptions[f"spBv1.0/{GROUP}/NCMD/{NODE}"] == 1
        assert STATE in connection.subscriptions


@checks("operational-behavior-primary-application-state-with-multiple-servers-single-server")
def there_is_one_connection_at_a_time(run: Run) -> None:
    for connection in run.connections[:-1]:
        assert connection.packets[-1].of_client or any(
            packet.kind == DISCONNECT for packet in connection.packets
        )


# --- order ----------------------------------------------------------------------------------------------------------------------


@checks(
    "principles-birth-certificates-order", "message-flow-edge-node-birth-publish-connect", "payloads-dbirth-order",
    "payloads-ndata-order", "payloads-ddata-order", "message-flow-device-birth-publish-nbirth-wait",
)  # fmt: skip
def births_come_first_and_together(run: Run) -> None:
    for number in range(len(run.connections)):
        verbs = [item.verb for item in run.of_connection(number)]
        if verbs:
            assert verbs[: 1 + len(DEVICES)] == ["NBIRTH", *["DBIRTH"] * len(DEVICES)]


@checks(
    "payloads-sequence-num-always-included", "payloads-sequence-num-zero-nbirth", "payloads-sequence-num-incrementing",
    "payloads-nbirth-seq", "topics-nbirth-seq-num", "message-flow-edge-node-birth-publish-nbirth-payload-seq",
    "payloads-dbirth-seq", "payloads-dbirth-seq-inc", "topics-dbirth-seq", "message-flow-device-birth-publish-dbirth-payload-seq",
    "payloads-ndata-seq", "payloads-ndata-seq-inc", "topics-ndata-seq-num", "payloads-ddata-seq", "payloads-ddata-seq-inc",
    "topics-ddata-seq-num", "payloads-ddeath-seq", "payloads-ddeath-seq-inc", "payloads-ddeath-seq-number", "topics-ddeath-seq-num",
)  # fmt: skip
def sequence_numbers_start_at_zero_and_rise_by_one_up_to_255(run: Run) -> None:
    wrapped = False
    for number in range(len(run.connections)):
        expected = 0
        for item in run.of_connection(number):
            if item.verb == "NDEATH":
                continue
            expected = 0 if item.verb == "NBIRTH" else expected
            assert item.payload.HasField("seq")
            assert item.payload.seq == expected, item
            wrapped |= expected == 255
            expected = (expected + 1) % 256
    assert wrapped


@checks("topics-ndeath-seq", "payloads-ndeath-seq", "topics-ndeath-payload")
def a_death_says_its_session_and_nothing_else(run: Run) -> None:
    deaths = [
        parse(connection.connect.will.payload) for connection in run.connections if connection.connect.will
    ]
    for payload in [*deaths, *(item.payload for item in run.said("NDEATH"))]:
        assert [item.name for item in payload.metrics] == ["bdSeq"]
        assert not payload.HasField("seq")


# --- the session's number -------------------------------------------------------------------------------------------------------


@checks(
    "topics-nbirth-bdseq-included", "topics-nbirth-bdseq-matching", "payloads-nbirth-bdseq", "payloads-ndeath-bdseq",
    "message-flow-edge-node-birth-publish-will-message-payload-bdSeq", "message-flow-edge-node-birth-publish-nbirth-payload-bdSeq",
    "operational-behavior-data-commands-rebirth-action-3", "payloads-nbirth-bdseq-repeat",
)  # fmt: skip
def births_and_deaths_bear_the_number_of_the_connects_will(run: Run) -> None:
    for number, connection in enumerate(run.connections):
        assert connection.connect.will is not None
        [will] = parse(connection.connect.will.payload).metrics
        assert will.datatype == 4  # Int64
        for item in run.of_connection(number):
            if item.verb in {"NBIRTH", "NDEATH"}:
                assert value_of(metric(item, "bdSeq")) == value_of(will)
    assert len(run.said("NBIRTH")) > len(
        {item.connection for item in run.said("NBIRTH")}
    )  # one came twice: a rebirth


@checks("topics-nbirth-bdseq-increment", "payloads-nbirth-bdseq-inc")
def the_number_starts_at_zero_and_rises_with_every_connect(run: Run) -> None:
    wills = [
        parse(connection.connect.will.payload).metrics[0]
        for connection in run.connections
        if connection.connect.will
    ]
    assert [value_of(will) for will in wills] == [number % 256 for number in range(len(wills))]
    assert len(wills) > 2


# --- the primary host -----------------------------------------------------------------------------------------------------------


def _state_events(connection: Connection) -> Iterator[tuple[str, str]]:
    """(`state`, payload) of the host and (`said`, verb) of the gateway in the order they passed."""
    for packet in connection.packets:
        if packet.kind != PUBLISH:
            continue
        publish = read_publish(packet)
        if not publish.of_client and publish.topic == STATE:
            yield "state", publish.payload.decode()
        elif publish.of_client and publish.topic.startswith("spBv1.0/"):
            yield "said", publish.topic.split("/")[2]


@checks(
    "message-flow-edge-node-birth-publish-phid-wait", "message-flow-edge-node-birth-publish-phid-wait-id",
    "message-flow-edge-node-birth-publish-phid-wait-online", "message-flow-edge-node-birth-publish-phid-wait-timestamp",
    "operational-behavior-edge-node-birth-sequence-wait",
)  # fmt: skip
def nothing_is_said_before_the_newest_state_of_its_host_is_online(run: Run) -> None:
    waited = 0
    for connection in run.connections:
        newest, online = -1, False
        for kind, what in _state_events(connection):
            if kind == "state":
                since = int(what.partition('"timestamp": ')[2].rstrip("}"))
                if since >= newest:
                    newest, online = since, '"online": true' in what
                waited += not online
            elif what != "NDEATH":
                assert online or what != "NBIRTH"
    assert waited >= 2


@checks(
    "message-flow-edge-node-birth-publish-phid-offline", "operational-behavior-edge-node-termination-host-offline",
    "operational-behavior-edge-node-intentional-disconnect-ndeath", "operational-behavior-edge-node-intentional-disconnect-packet",
    "payloads-ndeath-will-message-publisher", "payloads-ndeath-will-message-publisher-disconnect-mqtt311",
    "operational-behavior-primary-application-state-with-multiple-servers-walk",
)  # fmt: skip
def it_says_goodbye_and_disconnects_when_its_host_goes_and_when_it_is_stopped(run: Run) -> None:
    ended = 0
    for number, connection in enumerate(run.connections):
        verbs = [item.verb for item in run.of_connection(number)]
        if "NBIRTH" not in verbs:
            continue
        assert verbs[-1] == "NDEATH"
        last = [packet for packet in connection.packets if packet.of_client]
        assert [packet.kind for packet in last][-2:] == [PUBLISH, DISCONNECT]
        ended += 1
    assert ended >= 2


@checks("operational-behavior-edge-node-termination-host-offline-reconnect")
def it_comes_back_after_its_host_has_gone(run: Run) -> None:
    with_births = [number for number in range(len(run.connections)) if run.of_connection(number)]
    assert len(with_births) >= 2


@checks("operational-behavior-edge-node-termination-host-offline-timestamp")
def an_older_offline_is_no_reason_to_go(run: Run) -> None:
    """The scenario says one in the first session, whose data goes on behind it."""
    for connection in run.connections:
        events = list(_state_events(connection))
        old = [i for i, (kind, what) in enumerate(events) if kind == "state" and '"timestamp": 1}' in what]
        if old:
            assert ("said", "DDATA") in events[old[-1] :]
            return
    raise AssertionError("the scenario said no old offline")


# --- births ---------------------------------------------------------------------------------------------------------------------


@checks(
    "topics-nbirth-metrics", "topics-dbirth-metrics", "payloads-name-requirement", "payloads-metric-datatype-value-type",
    "payloads-metric-datatype-value", "payloads-metric-datatype-req", "operational-behavior-data-publish-nbirth-values",
    "operational-behavior-data-publish-dbirth-values", "message-flow-edge-node-birth-publish-nbirth-payload",
    "message-flow-device-birth-publish-dbirth-payload",
)  # fmt: skip
def every_metric_of_a_birth_has_name_type_and_value_or_null(run: Run) -> None:
    for item in run.said("NBIRTH", "DBIRTH"):
        assert item.payload.metrics
        for one in item.payload.metrics:
            assert one.name
            assert 1 <= one.datatype <= 34
            assert one.is_null == (value_of(one) is None)


@checks(
    "topics-nbirth-metric-reqs", "topics-dbirth-metric-reqs", "operational-behavior-data-publish-nbirth",
    "operational-behavior-data-publish-dbirth",
    "payloads-alias-data-cmd-requirement", "payloads-alias-uniqueness", "payloads-alias-birth-requirement",
)  # fmt: skip
def data_refers_by_alias_alone_to_what_a_birth_declared(run: Run) -> None:
    """`Node Control/*` and `bdSeq` never stand in data: they have a name and no alias."""
    for number in range(len(run.connections)):
        known: dict[str, dict[int, str]] = {}
        for item in run.of_connection(number):
            if item.verb.endswith("BIRTH"):
                known = {} if item.verb == "NBIRTH" else known
                known[item.device] = {
                    one.alias: one.name for one in item.payload.metrics if one.HasField("alias")
                }
                aliases = [alias for device in known.values() for alias in device]
                assert len(aliases) == len(set(aliases))
            elif item.verb.endswith("DATA"):
                for one in item.payload.metrics:
                    assert not one.HasField("name")
                    assert one.alias in known[item.device]


@checks("operational-behavior-data-commands-rebirth-name", "operational-behavior-data-commands-rebirth-name-aliases",
        "operational-behavior-data-commands-rebirth-datatype", "operational-behavior-data-commands-rebirth-value",
        "topics-nbirth-rebirth-metric", "payloads-nbirth-rebirth-req")  # fmt: skip
def the_node_declares_that_it_can_be_reborn(run: Run) -> None:
    for item in run.said("NBIRTH"):
        found = metric(item, "Node Control/Rebirth")
        assert (found.datatype, value_of(found), found.HasField("alias")) == (11, False, False)


@checks(
    "operational-behavior-data-commands-rebirth-action-1",
    "operational-behavior-data-commands-rebirth-action-2",
)
def a_rebirth_request_brings_all_births_before_any_further_data(run: Run) -> None:
    asked = 0
    for connection in run.connections:
        waiting = False
        verbs: list[str] = []
        for packet in connection.packets:
            if packet.kind != PUBLISH:
                continue
            publish = read_publish(packet)
            if "/NCMD/" in publish.topic and any(
                one.name == "Node Control/Rebirth" and value_of(one) for one in parse(publish.payload).metrics
            ):
                waiting, verbs, asked = True, [], asked + 1
            elif waiting and publish.of_client and publish.topic.startswith("spBv1.0/"):
                verbs.append(publish.topic.split("/")[2])
        if waiting:
            at = verbs.index("NBIRTH")
            # The scenario asks while the window is shut, so nothing is on its way: the acks that open it come behind.
            assert at == 0
            assert verbs[at : at + 1 + len(DEVICES)] == ["NBIRTH", *["DBIRTH"] * len(DEVICES)]
    assert asked == 1


# --- times ----------------------------------------------------------------------------------------------------------------------


@checks(
    "topics-nbirth-timestamp", "topics-dbirth-timestamp", "topics-ndata-timestamp", "topics-ddata-timestamp", "payloads-timestamp-in-UTC",
    "payloads-nbirth-timestamp", "payloads-dbirth-timestamp", "payloads-ndata-timestamp", "payloads-ddata-timestamp",
    "payloads-ddeath-timestamp", "topics-ddeath-timestamp",
)  # fmt: skip
def every_payload_bears_the_time_when_it_was_sent(run: Run) -> None:
    for item in run.said("NBIRTH", "DBIRTH", "NDATA", "DDATA", "DDEATH"):
        assert run.since_ms <= item.payload.timestamp <= run.until_ms, item.verb


@checks("payloads-name-birth-data-requirement", "payloads-metric-timestamp-in-UTC")
def every_metric_of_births_and_data_bears_its_own_time(run: Run) -> None:
    for item in run.said("NBIRTH", "DBIRTH", "NDATA", "DDATA"):
        assert all(
            one.HasField("timestamp") and 0 < one.timestamp <= run.until_ms for one in item.payload.metrics
        )


@checks("operational-behavior-data-publish-nbirth-order", "operational-behavior-data-publish-dbirth-order")
def metrics_that_are_not_historical_come_in_the_order_of_their_times(run: Run) -> None:
    for number in range(len(run.connections)):
        newest: dict[tuple[str, int], int] = {}
        for item in run.of_connection(number):
            if item.verb not in {"NDATA", "DDATA"}:
                continue
            for one in item.payload.metrics:
                if not one.is_historical:
                    assert one.timestamp >= newest.get((item.device, one.alias), 0)
                    newest[item.device, one.alias] = one.timestamp


# --- data -----------------------------------------------------------------------------------------------------------------------


@checks("payloads-metric-datatype-not-req")
def data_does_not_repeat_the_types(run: Run) -> None:
    assert not any(
        one.HasField("datatype") for item in run.said("NDATA", "DDATA") for one in item.payload.metrics
    )


@checks(
    "topics-ndata-payload",
    "operational-behavior-data-publish-nbirth-change",
    "operational-behavior-data-publish-dbirth-change",
    "topics-ddata-payload",
)
def node_data_comes_only_with_news_and_device_data_only_with_new_readings(run: Run) -> None:
    """A frame is a new reading of totals with a time and a number of its own: it is never a repetition within a session."""
    assert len(run.said("NDATA")) <= run.idle_node
    for number in range(len(run.connections)):
        seen: set[tuple[str, bytes]] = set()
        for item in run.of_connection(number):
            if item.verb == "DDATA":
                said = b"".join(one.SerializeToString() for one in item.payload.metrics)
                assert (item.device, said) not in seen
                seen.add((item.device, said))


@checks("operational-behavior-device-ddeath")
def a_silent_device_is_declared_dead_and_born_again_before_its_next_data(run: Run) -> None:
    deaths = run.said("DDEATH")
    assert deaths
    for number in range(len(run.connections)):
        born: set[str] = set()
        for item in run.of_connection(number):
            if item.verb == "NBIRTH":
                born.clear()
            elif item.verb == "DBIRTH":
                born.add(item.device)
            elif item.verb == "DDEATH":
                assert item.device in born
                born.remove(item.device)
            elif item.verb == "DDATA":
                assert item.device in born
    after = run.said()[run.said().index(deaths[0]) :]
    assert [item.verb for item in after if item.device == deaths[0].device][:3] == [
        "DDEATH",
        "DBIRTH",
        "DDATA",
    ]


# --- properties -----------------------------------------------------------------------------------------------------------------


@checks(
    "payloads-propertyset-keys-array-size", "payloads-propertyset-values-array-size", "payloads-metric-propertyvalue-type-type",
    "payloads-metric-propertyvalue-type-value", "payloads-metric-propertyvalue-type-req",
)  # fmt: skip
def every_property_has_a_key_a_value_and_a_type(run: Run) -> None:
    sets = [
        one.properties
        for item in run.said("NBIRTH", "DBIRTH")
        for one in item.payload.metrics
        if one.HasField("properties")
    ]
    assert sets
    for one in sets:
        assert len(one.keys) == len(one.values)
        assert all(value.HasField("type") and 1 <= value.type <= 21 for value in one.values)


HOSTS = (
    "intro-sparkplug-host-state, components-ph-state, host-topic-phid-*, message-flow-phid-*, message-flow-hid-*, "
    "operational-behavior-host-*, operational-behavior-edge-node-termination-host-action-*, payloads-state-*, "
    "operational-behavior-primary-application-state-with-multiple-servers-state, conformance-primary-host"
)
COMMANDS = (
    "topics-ncmd-*, topics-dcmd-*, payloads-ncmd-*, payloads-dcmd-*, payloads-name-cmd-requirement, "
    "operational-behavior-data-commands-ncmd-*, operational-behavior-data-commands-dcmd-*"
)
NOT_APPLICABLE: dict[str, str] = {
    "principles-rbe-recommended": "a recommendation: totals come on the quarter hour, because that is settled; live readings by exception",
    "case-sensitivity-*": "a recommendation to whoever gives ids; names of readings are a closed list in lower case",
    "principles-persistence-clean-session-50": "MQTT 5 is not used",
    "payloads-ndeath-will-message-publisher-disconnect-mqtt50": "MQTT 5 is not used",
    "topic-structure-namespace-unique-edge-node-descriptor": "of the whole infrastructure: the registry refuses two gateways of one id",
    "payloads-nbirth-edge-node-descriptor": "the same",
    "topic-structure-namespace-duplicate-device-id-across-edge-node": "a permission",
    "topics-nbirth-templates": "templates are not used",
    "payloads-dataset-*, payloads-template-*": "data sets and templates are not used",
    "payloads-propertyset-quality-*": "no quality property is used: what a meter could not say is not sent",
    "message-flow-device-dcmd-subscribe": "no device can be written to: a gateway never writes to a meter",
    COMMANDS: "of the host that sends commands (tests/ingest)",
    HOSTS: "of host applications (tests/ingest)",
    "conformance-mqtt-*": "of brokers",
}
"""Statements that bind no edge node of ours, by id (`*`: all that begin so), with the reason."""
