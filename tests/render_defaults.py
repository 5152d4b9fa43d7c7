"""Render `design.yaml` with the default answers, so that the project runs as it lies in the template.

python tests/render_defaults.py OUTPUT
"""

import sys
from pathlib import Path

from cookiecutter.environment import StrictEnvironment
from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "{{cookiecutter.__project_slug.0}}"


def render(name: str) -> str:
    """Text of one file of the project as a bake with the default answers writes it."""
    context = generate_context(context_file=str(ROOT / "cookiecutter.json"))
    answers = prompt_for_config(context, no_input=True)
    environment = StrictEnvironment(context={"cookiecutter": answers}, keep_trailing_newline=True)
    return str(environment.from_string((PROJECT / name).read_text(encoding="utf-8")).render(cookiecutter=answers))


if __name__ == "__main__":
    output = Path(sys.argv[1])
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(render("design.yaml"), encoding="utf-8")
