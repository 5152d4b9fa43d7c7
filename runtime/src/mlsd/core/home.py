"""Where the state of the embedded stack lies: one folder; deleting it is a clean start."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlsd.core.errors import UserError


@dataclass(frozen=True)
class Home:
    """Paths below the state folder. Nothing is written anywhere else."""

    root: Path

    @property
    def data(self) -> Path:
        """Canonical tables and the training frame, Parquet."""
        return self.root / "data"

    @property
    def feast(self) -> Path:
        """Feast registry, online store and offline feature tables."""
        return self.root / "feast"

    @property
    def online_store(self) -> Path:
        """Feast's SQLite online store."""
        return self.feast / "online.db"

    @property
    def snapshots(self) -> Path:
        """Columnar item features of each completed materialisation."""
        return self.root / "snapshots"

    @property
    def mlflow(self) -> Path:
        """MLflow database and artefacts."""
        return self.root / "mlflow"

    @property
    def models(self) -> Path:
        """Local copies of registered models, one folder per digest."""
        return self.root / "models"

    def model_folder(self, version: int, digest: str) -> Path:
        """Where the local copy of a registered model lies; `digest` is that of its manifest."""
        return self.models / f"{version}-{digest[:12]}"

    @property
    def packs(self) -> Path:
        """Sources of the problem packs that models were trained with, one folder a digest."""
        return self.root / "packs"

    @property
    def engines(self) -> Path:
        """Compiled models of this machine, one folder each."""
        return self.root / "engines"

    @property
    def releases_db(self) -> Path:
        """The ledger: the only writer of what is live."""
        return self.root / "releases.db"

    @property
    def feature_log(self) -> Path:
        """Prediction records, one file per serving process."""
        return self.root / "feature_log"

    @property
    def user_hash_key(self) -> Path:
        """Key of the pseudonyms in the feature log; for its owner only."""
        return self.root / "user_hash.key"

    @property
    def batch(self) -> Path:
        """Precomputed rankings, one folder per model and run."""
        return self.root / "batch"

    @property
    def envoy(self) -> Path:
        """Envoy's bootstrap and its watched route files."""
        return self.root / "envoy"

    @property
    def run(self) -> Path:
        """One JSON file per running process."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """Output of the processes."""
        return self.root / "logs"

    @property
    def results(self) -> Path:
        """Measured numbers of each step, JSON, read by the report."""
        return self.root / "results"

    @property
    def baselines(self) -> Path:
        """The runs of load that later ones are held against."""
        return self.root / "baselines"

    @property
    def report(self) -> Path:
        """The page that shows each design number beside the measured one."""
        return self.root / "report.html"

    @property
    def clock(self) -> Path:
        """Offset between the world's clock and this machine's."""
        return self.root / "clock.json"


def find_home() -> Home:
    """The state folder: `$MLSD_HOME`, else `.mlsd` in the working directory."""
    return Home(Path(os.environ.get("MLSD_HOME") or ".mlsd").absolute())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` and rename it onto `path` on success; on failure nothing is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON; readers see the old file or the new one, never half of it."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path, missing: str) -> Any:
    """Read a JSON file of the state folder; `missing` says which command writes it.

    Raises:
        UserError: the file is absent or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; {missing}") from None
    except ValueError as error:
        raise UserError(f"{path}: not readable as JSON ({error}); delete it, then {missing}") from None
