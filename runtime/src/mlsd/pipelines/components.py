"""The bodies of the pipeline's components. Each runs in a process of its own, so each imports what it needs."""


def validate(home: str, design: str, folder: str, tables_digest: str) -> str:
    """Check the contract of the tables."""
    from mlsd.pipelines import component_bodies as steps
    from mlsd.pipelines.run import Run

    return steps.validate(Run(home=home, design=design, folder=folder), tables_digest)


def training_set(home: str, design: str, folder: str, tables_digest: str, window_end: str) -> str:
    """Join the features to the labels, point in time."""
    from mlsd.pipelines import component_bodies as steps
    from mlsd.pipelines.run import Run

    return steps.training_set(Run(home=home, design=design, folder=folder), tables_digest, window_end)


def train(home: str, design: str, folder: str, frame: str, tables_digest: str, window_start: str, champion: str) -> str:
    """Fit the leaderboard, measure it, choose."""
    from mlsd.pipelines import component_bodies as steps
    from mlsd.pipelines.run import Run

    run = Run(home=home, design=design, folder=folder)
    return steps.train(run, frame, tables_digest, window_start, champion)


def register(home: str, design: str, folder: str, outcome: str) -> str:
    """Track every model and register what was chosen."""
    from mlsd.pipelines import component_bodies as steps
    from mlsd.pipelines.run import Run

    return steps.register(Run(home=home, design=design, folder=folder), outcome)
