"""What a compiled object was made of and by: it is used only where that is still so."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from mlsd.models.bundle import Finite, Sha256

OWN = 0o700


class Record(BaseModel):
    """What lies beside a compiled object."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_sha256: Sha256
    object_sha256: Sha256
    probe_sha256: Sha256
    toolchain: dict[str, str]
    max_difference: Finite
    seconds: Finite


def toolchain() -> dict[str, str]:
    """What decides which machine code comes out: compiler versions and this machine's processor."""
    import llvmlite.binding as llvm

    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM does not know this processor
        features = ""
    return {
        "lleaves": importlib.metadata.version("lleaves"),
        "llvmlite": importlib.metadata.version("llvmlite"),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": llvm.get_host_cpu_name(),
        "features": features,
    }


def place(engines: Path, model_sha256: str) -> Path:
    """The folder of a model's object on this machine."""
    tools = hashlib.sha256(json.dumps(toolchain(), sort_keys=True).encode()).hexdigest()
    return engines / f"{model_sha256}-{tools[:12]}"
