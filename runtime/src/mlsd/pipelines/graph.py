"""The graph of the training pipeline: the same for Kubeflow and for this machine."""

import os
from pathlib import Path
from typing import Any

from mlsd.core.home import replacing
from mlsd.pipelines import components

# The image of a cluster run; a local run uses this interpreter and only wants `python` in the name.
IMAGE = "python-mlsd-pipeline"


def training_pipeline(image: str) -> Any:
    """Wire validate, training_set, train and register.

    Every step reads data that lies outside the pipeline, and a cache keyed on parameters would not see it change:
    caching is off, and the data's digest and window are parameters, so that a run says what it was made of.
    """
    from kfp import dsl

    def component(body: Any) -> Any:
        return dsl.component(body, base_image=image, install_kfp_package=False)

    validate, training_set, train, register = map(
        component, (components.validate, components.training_set, components.train, components.register)
    )

    def pipeline(
        home: str,
        design: str,
        folder: str,
        tables_digest: str,
        window_start: str,
        window_end: str,
        champion: str,
    ) -> None:
        run = {"home": home, "design": design, "folder": folder}
        checked = validate(**run, tables_digest=tables_digest).set_caching_options(False)
        frame = training_set(**run, tables_digest=checked.output, window_end=window_end).set_caching_options(False)
        fitted = train(
            **run, frame=frame.output, tables_digest=checked.output, window_start=window_start, champion=champion
        ).set_caching_options(False)
        register(**run, outcome=fitted.output).set_caching_options(False)

    described = dsl.pipeline(
        name="train", description="Contract, point-in-time join, leaderboard of models, gates, registry."
    )
    return described(pipeline)


def compile_pipeline(path: Path) -> None:
    """Write the pipeline as Kubeflow's YAML; `$MLSD_PIPELINE_IMAGE` names the image of its steps."""
    from kfp import compiler

    image = os.environ.get("MLSD_PIPELINE_IMAGE") or IMAGE
    with replacing(path) as temporary:
        written = temporary.with_suffix(".yaml")
        try:
            compiler.Compiler().compile(training_pipeline(image), str(written))
            written.replace(temporary)
        finally:
            written.unlink(missing_ok=True)
