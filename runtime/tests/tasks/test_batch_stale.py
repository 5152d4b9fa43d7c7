"""What a batch makes of users whose values are too old is what the service makes of them (3.17)."""

from datetime import timedelta

import pytest

from mlsd.design.design import Design
from mlsd.features.online_stores.sqlite import UserReader
from mlsd.features.snapshot import current as current_snapshot
from mlsd.features.user_values import fill
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.tasks.ranking.batch.run import Model, write
from mlsd.tasks.ranking.batch.table import Table
from support.batch_run import Made, in_mode

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("when_stale", ["default", "flag"])
def test_stale_users_are_taken_as_the_design_says(
    made: Made, small_design: Design, problem: Problem, when_stale: str
) -> None:
    home, _, bundle, done = made
    content = in_mode(small_design, "batch").model_dump(mode="json")
    content["features"]["when_stale"] = when_stale
    design = Design.model_validate(content)
    later = Table.load(done.folder).meta.written_at + timedelta(hours=design.max_age_h.user + 1)
    table = Table.load(write(Context.of(design, home, problem), Model(1, bundle), current_snapshot(home), later).folder)
    reader = UserReader(home.online_store, design.name, problem.user_views, timeout_s=5)
    differing = 0
    for user in table.ids.tolist()[::10]:
        record, row = table.find(user), reader.read(user)
        assert record is not None
        values, reasons = fill(row, problem, design.max_age_h, later, design.features.when_stale)
        assert "stale_user" in reasons
        assert "stale_user" in table.meta.reasons[record["reasons"]]
        assert record["row"].tobytes() == values.tobytes()
        differing += values.tobytes() != fill(row, problem, design.max_age_h, later)[0].tobytes()
    assert (differing > 0) == (when_stale == "flag")
