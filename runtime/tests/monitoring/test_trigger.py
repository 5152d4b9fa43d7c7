"""From alerts to actions: once, and not again during the cooldown (6.12, 6.13)."""

from datetime import UTC, datetime, timedelta

from mlsd.monitoring.triggers.trigger import Alert, decide

START = datetime(2026, 3, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)
DRIFT = Alert("drift", "item_age_h", "PSI item_age_h: 0.9")
QUALITY = Alert("quality", "all", "AUC all: -5 %")


def test_no_alert_no_action() -> None:
    assert decide([], 1, START, {}, HOUR) == []


def test_drift_asks_for_one_retraining_however_many_features_moved() -> None:
    """6.12"""
    triggers = decide([DRIFT, Alert("drift", "user_ctr", "PSI user_ctr: 0.3")], 1, START, {}, HOUR)
    assert [trigger.action for trigger in triggers] == ["retrain"]
    assert "item_age_h" in triggers[0].reason
    assert "user_ctr" in triggers[0].reason


def test_a_loss_of_quality_goes_back_first_and_retrains() -> None:
    """6.13"""
    assert [trigger.action for trigger in decide([QUALITY], 1, START, {}, HOUR)] == ["rollback", "retrain"]


def test_the_key_depends_on_what_and_where_not_on_the_measured_value() -> None:
    again = Alert("drift", "item_age_h", "PSI item_age_h: 0.7")
    key = decide([DRIFT], 1, START, {}, HOUR)[0].key
    assert decide([again], 1, START, {}, HOUR)[0].key == key
    assert decide([DRIFT], 2, START, {}, HOUR)[0].key != key
    assert decide([DRIFT], 1, START + HOUR, {}, HOUR)[0].key != key
    assert decide([DRIFT, QUALITY], 1, START, {}, HOUR)[1].key != key


def test_not_again_during_the_cooldown_of_that_action() -> None:
    fired = {"retrain": START}
    assert decide([DRIFT], 1, START + HOUR / 2, fired, HOUR) == []
    assert len(decide([DRIFT], 1, START + HOUR, fired, HOUR)) == 1
    assert [t.action for t in decide([QUALITY], 1, START + HOUR / 2, fired, HOUR)] == ["rollback"]
