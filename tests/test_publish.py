"""docs/publish-the-runtime.md, followed with a wheel that is built here and an index on this machine."""

import hashlib
import os
import re
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from conftest import ROOT, RUNTIME, Bake

UV = Path(sys.executable).with_name("uv")


def run(folder: Path, *command: str, **variables: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MLSD_", "PYTHONPATH"))}
    done = subprocess.run(
        command, cwd=folder, env=inherited | variables, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder."""

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def index(folder: Path, wheel: Path) -> Iterator[str]:
    """A simple index (PEP 503) that holds one wheel, on this machine only."""
    page = folder / "simple" / "mlsd"
    page.mkdir(parents=True)
    (page / wheel.name).write_bytes(wheel.read_bytes())
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    link = f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>'
    (page / "index.html").write_text(f"<!DOCTYPE html><html><body>{link}</body></html>", encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/simple"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_project_takes_the_runtime_from_an_index(template: Path, bake: Bake, tmp_path: Path) -> None:
    dist, project = tmp_path / "dist", bake(template)
    source = tmp_path / "runtime"
    run(tmp_path, "cp", "-r", str(RUNTIME), str(source))
    build = (str(UV), "build", "--wheel", "--no-build-isolation", "--python", sys.executable)
    run(tmp_path, *build, "--out-dir", str(dist), str(source))
    [wheel] = dist.glob("mlsd-*.whl")
    page = (ROOT / "docs" / "publish-the-runtime.md").read_text(encoding="utf-8")
    steps = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[1]
    assert f"mlsd=={wheel.name.split('-')[1]}" in steps
    run(project, str(UV), "venv", "--quiet", "--python", sys.executable, ".venv")
    (project / ".venv" / "bin" / "uv").symlink_to(UV)
    with index(tmp_path / "index", wheel) as address:
        run(project, "sh", "-ec", steps, UV_DEFAULT_INDEX=address, UV_NO_CACHE="1", NO_PROXY="127.0.0.1")
    assert not (project / "vendor").exists()
    assert "--hash=sha256:" in (project / "requirements" / "runtime.txt").read_text(encoding="utf-8")
    libraries = os.pathsep.join([sysconfig.get_path("purelib"), str(project / "src")])
    planned = run(project, str(project / ".venv" / "bin" / "mlsd"), "plan", PYTHONPATH=libraries)
    assert "hop budget" in planned
    place = run(project, str(project / ".venv" / "bin" / "python"), "-c", "import mlsd; print(mlsd.__file__)")
    assert Path(place.strip()).is_relative_to(project / ".venv")
