"""The golden path: one runtime, the same in every generated project.

Nothing reports home: what its libraries would tell their makers is switched off here, before any of them is imported,
for this process and for every one that it starts. Who wants it sets the variable.
"""

import os

QUIET = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "FEAST_USAGE": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
}
for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)
