"""Training frames with planted truth, for tests of the training step."""

import numpy as np
import pandas as pd

REQUESTS, SHOWN = 900, 12
START = pd.Timestamp("2025-03-03", tz="UTC")


def training_frame(features: tuple[str, ...], *, requests: int = REQUESTS, seed: int = 1) -> pd.DataFrame:
    """Requests over four weeks; the first three features carry the label, the fourth has holes, the rest are noise."""
    random = np.random.default_rng(seed)
    n = requests * SHOWN
    matrix = random.normal(size=(n, len(features))).astype(np.float32)
    truth = 1.2 * matrix[:, 0] + np.where(matrix[:, 1] > 0, 1.0, -1.0) * matrix[:, 2] - 2.0
    label = (random.random(n) < 1 / (1 + np.exp(-truth))).astype(np.int8)
    matrix[random.random(n) < 0.2, 3] = np.nan
    hours = np.repeat(np.sort(random.uniform(0, 28 * 24, requests)), SHOWN)
    at = (START + pd.to_timedelta(hours, unit="h")).as_unit("us")
    frame = pd.DataFrame(
        {
            "row_id": np.arange(n),
            "request_id": np.repeat([f"r{i:05d}" for i in range(requests)], SHOWN),
            "user_id": np.repeat(random.integers(1, 300, requests), SHOWN),
            "item_id": random.integers(1, 400, n),
            "at": at,
            "label": label,
            "slice_weekend": at.dayofweek >= 5,
            "slice_new_user": np.repeat(random.random(requests) < 0.2, SHOWN),
            "slice_new_item": random.random(n) < 0.1,
            "popularity": 1 / (1 + np.exp(-(0.4 * matrix[:, 0] + random.normal(size=n)))),
        }
    )
    return pd.concat([frame, pd.DataFrame(matrix, columns=list(features))], axis=1)
