from schemas.topics import EXPECTED_TYPE, EventType, Topic


def test_topics_and_types_are_those_of_the_contract() -> None:
    assert set(Topic) == {
        "backtest.requested",
        "backtest.cancel_requested",
        "backtest.progress",
        "backtest.completed",
        "backtest.requested.dlq",
    }
    names = "requested cancel_requested started progress completed failed cancelled rejected"
    assert set(EventType) == {f"backtest.{name}" for name in names.split()}


def test_each_input_topic_takes_the_type_of_its_name() -> None:
    assert EXPECTED_TYPE == {
        Topic.REQUESTED: EventType.REQUESTED,
        Topic.CANCEL_REQUESTED: EventType.CANCEL_REQUESTED,
    }
