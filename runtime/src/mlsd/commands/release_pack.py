"""Commands that look at what a release answered run with the pack that its model was trained with, as it does itself.

A feature that was added or removed since would be recomputed for records that never had it.
"""

import logging
import os
import sys
from pathlib import Path

import mlsd
from mlsd.core.home import Home
from mlsd.delivery.releases.ledger import Ledger
from mlsd.models import packs
from mlsd.prediction_log.search import find
from mlsd.problem.context import Context
from mlsd.problem.packs import pack_folder

LOGGER = logging.getLogger("mlsd")
OF_THE_CHAMPION = frozenset({"monitor", "batch"})
OF_A_RECORD = frozenset({"explain"})


def _model_folder(home: Home, command: str, request_id: str | None) -> Path | None:
    """Where the model lies that the command is about; None if there is none, which the command itself will tell."""
    if command in OF_A_RECORD and request_id is not None:
        record = find(home.feature_log, request_id)
        return home.model_folder(record.model_version, record.model_digest) if record else None
    if command in OF_THE_CHAMPION and home.releases_db.exists():
        release = Ledger(home.releases_db).champion()
        return home.model_folder(release.model_version, release.model_digest) if release else None
    return None


def pack_for(context: Context, command: str, request_id: str | None = None) -> Path | None:
    """What has to come first on the Python path for this command; None where the project's own pack is right.

    Raises:
        UserError: the design or the ledger is not readable.
    """
    home = context.home
    if not home.packs.is_dir():
        return None
    folder = _model_folder(home, command, request_id)
    pack = packs.kept(home, folder) if folder else None
    problem = context.declared.problem
    if pack is None or pack.name == packs.digest_of(pack_folder(problem)):
        return None
    if not (pack / problem).is_dir():
        LOGGER.warning("the model's pack was not called %s yet: %s runs with the one that lies there", problem, command)
        return None
    return pack


def follow(context: Context, command: str, request_id: str | None, argv: list[str]) -> None:
    """Become the same command with the right pack, where that is another one; else return."""
    if pack := pack_for(context, command, request_id):
        LOGGER.info("%s runs with the pack that the model was trained with, %s", command, pack.name[:12])
        path = [str(pack), str(Path(mlsd.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path), "MLSD_HOME": str(context.home.root)}
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, "-m", "mlsd.commands.cli", *argv], environment)  # noqa: S606
