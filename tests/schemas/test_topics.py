from schemas.topics import EXPECTED_TYPE, EventType, Topic


def test_topics_and_types_are_those_of_the_contract() -> None:
    assert set(Topic) == {
        "backtest.requested",
        "backtest.cancel_requested",
        "backtest.progress",
        "backtest.completed",
        "backtest.requested.dlq",
        "optimization.requested",
        "optimization.cancel_requested",
        "optimization.progress",
        "optimization.completed",
    }
    names = "requested cancel_requested started progress completed failed cancelled rejected"
    assert set(EventType) == {f"{kind}.{name}" for kind in ("backtest", "optimization") for name in names.split()}


def test_each_input_topic_takes_the_type_of_its_name() -> None:
    assert EXPECTED_TYPE == {
        Topic.REQUESTED: EventType.REQUESTED,
        Topic.CANCEL_REQUESTED: EventType.CANCEL_REQUESTED,
        Topic.OPTIMIZATION_REQUESTED: EventType.OPTIMIZATION_REQUESTED,
        Topic.OPTIMIZATION_CANCEL_REQUESTED: EventType.OPTIMIZATION_CANCEL_REQUESTED,
    }
