"""The topic grammar, and which of our own metrics make an ack."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.frames import ACK_EPOCH, Ack, ack_payload, new_epoch_payload, read_ack, rebirth_payload
from metering.ids import ID_PATTERN, is_valid_id
from metering.sparkplug import Metric, Payload, decode, encode
from metering.topics import NODE_TYPES, MessageType, Topic, parse_topic, state_topic

ids = st.from_regex(ID_PATTERN.rstrip("$"), fullmatch=True)


@given(ids, st.sampled_from(MessageType), ids, ids)
def test_a_topic_reads_back_as_it_was_written(
    group: str, kind: MessageType, gateway: str, meter: str
) -> None:
    topic = Topic(group, kind, gateway, "" if kind in NODE_TYPES else meter)
    assert parse_topic(str(topic)) == topic


@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from(["spBv1.0", "p", "NDATA", "DDATA", "", "+", "#", "园"])).map("/".join)
)
def test_whatever_is_taken_for_a_topic_is_spelt_exactly_so(text: str) -> None:
    topic = parse_topic(text)
    assert topic is None or str(topic) == text


@pytest.mark.parametrize("text", [
    "", "spBv1.0", "spBv1.0/p/NDATA", "spBv1.0/p/NDATA/g/m", "spBv1.0/p/DDATA/g", "spBv1.0/p/DDATA/g/m/x", "spAv1.0/p/NDATA/g",
    "spBv1.0/p/ndata/g", "spBv1.0/p/STATE/g", "spBv1.0/STATE/tanyun", "spBv1.0//NDATA/g", "spBv1.0/p/NDATA/", "spBv1.0/p/NDATA/-g",
    "spBv1.0/p/DDATA/g/a b", "spBv1.0/p/DDATA/g/\u7535", "spBv1.0/p/NDATA/g\n", f"spBv1.0/p/NDATA/{'g' * 65}",
])  # fmt: skip
def test_other_topics_are_none_of_ours(text: str) -> None:
    assert parse_topic(text) is None


def test_the_state_of_a_host_has_its_own_topic() -> None:
    """tck-id-host-topic-phid-birth-topic: spBv1.0/STATE/sparkplug_host_id."""
    assert state_topic("tanyun") == "spBv1.0/STATE/tanyun"


@pytest.mark.parametrize(("text", "valid"), [
    ("a", True), ("7-a.b_c", True), ("g" * 64, True), ("g" * 65, False), (".a", False), ("", False),
])  # fmt: skip
def test_an_id_is_safe_in_a_topic_and_a_path(text: str, *, valid: bool) -> None:
    assert is_valid_id(text) is valid


def test_an_ack_reads_back_as_it_was_sent() -> None:
    ack = Ack("00ff00ff00ff00ff", (1 << 62) - 1, 12, 1_790_000_000_000)
    assert read_ack(decode(encode(ack_payload(ack)))) == ack


@pytest.mark.parametrize("payload", [
    rebirth_payload(1), new_epoch_payload(1), Payload(()),
    Payload(tuple(m for m in ack_payload(Ack("j", 1, 2, 3)).metrics if m.name != ACK_EPOCH)),
    Payload((*ack_payload(Ack("j", 1, 2, 3)).metrics, Metric(name=ACK_EPOCH, value="one"))),
])  # fmt: skip
def test_a_command_without_a_whole_ack_is_no_ack(payload: Payload) -> None:
    assert read_ack(payload) is None
