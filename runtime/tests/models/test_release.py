"""What a model server is told to serve: one line for each way in which that can be wrong."""

import pytest

from mlsd.core.errors import UserError
from mlsd.models.release import RELEASE, release_from_env

WHOLE = '{"release_id": 1, "model_version": 2, "model_dir": "models/2", "model_digest": "ab"}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not set, expected what `mlsd status --json` shows as details.champion"),
        ("null", "content: found 'null': Input should be an object"),  # what `mlsd status` shows before `mlsd up`
        ("{", "content: found '{': Invalid JSON"),
        (WHOLE.replace("2,", '"two",'), "model_version: found .* valid integer"),
    ],
)
def test_it_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch, text: str, message: str) -> None:
    monkeypatch.setenv(RELEASE, text)
    with pytest.raises(UserError, match=f"^MLSD_RELEASE: {message}"):
        release_from_env()


def test_it_reads_a_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RELEASE, WHOLE)
    assert release_from_env().model_version == 2
