"""An MLflow model that takes ids and holds the features: the kinder of the two ways to `mlflow models serve`."""

from typing import Any

import mlflow
from mlflow.pyfunc.model import PythonModel

from plain.quickstart import FromMemory


class Ranker(PythonModel):
    """`POST /invocations` with one row: user_id, candidates, device."""

    def load_context(self, context: Any) -> None:
        """Load the model and the features."""
        self.ranker = FromMemory()

    def predict(self, context: Any, model_input: Any, params: Any = None) -> list[Any]:
        """Candidates, best first."""
        row = model_input.iloc[0]
        return [self.ranker.rank(int(row.user_id), list(row.candidates), str(row.device))]


mlflow.models.set_model(Ranker())
