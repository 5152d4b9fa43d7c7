"""NumPy's files are read one at a time, and a torn one is a `ValueError` whatever was torn (5.11)."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlsd.core import arrays

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("mapped", [True, False])
def test_it_reads_what_was_written(tmp_path: Path, mapped: bool) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    found = arrays.read(tmp_path / "a.npy", mapped=mapped)
    assert found.tobytes() == VALUES.tobytes()
    assert found.shape == (3, 4)
    assert isinstance(found, np.memmap) is mapped


def test_two_threads_never_parse_a_header_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    np.savez(tmp_path / "b.npz", rows=VALUES)
    inside, most, load = threading.Semaphore(1), [0], np.load

    def watched(*args: Any, **options: Any) -> Any:
        most[0] += not inside.acquire(blocking=False)
        time.sleep(0.001)  # let the others in, if they can
        inside.release()
        return load(*args, **options)

    monkeypatch.setattr(np, "load", watched)
    with ThreadPoolExecutor(8) as threads:
        one = [threads.submit(arrays.read, tmp_path / "a.npy") for _ in range(20)]
        all_ = [threads.submit(arrays.read_all, tmp_path / "b.npz") for _ in range(20)]
    assert {each.result().tobytes() for each in one} == {VALUES.tobytes()}
    assert {each.result()["rows"].tobytes() for each in all_} == {VALUES.tobytes()}
    assert most == [0]


@pytest.mark.parametrize("mapped", [True, False])
def test_a_cut_or_flipped_file_is_a_value_error_or_other_values(tmp_path: Path, mapped: bool) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    whole = (tmp_path / "a.npy").read_bytes()
    torn = [whole[:size] for size in range(0, len(whole), 3)]
    for place in range(len(whole) - VALUES.nbytes):
        torn += [whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :] for bit in (1, 16, 128)]
    refused = 0
    for content in torn:
        (tmp_path / "b.npy").write_bytes(content)
        try:
            arrays.read(tmp_path / "b.npy", mapped=mapped)
        except ValueError as error:
            assert "b.npy" in str(error)
            refused += 1
    assert refused > 0.8 * len(torn)


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        arrays.read(tmp_path / "a.npy")


def test_an_absent_file_says_its_name(tmp_path: Path) -> None:
    for read in (arrays.read, arrays.read_all):
        with pytest.raises(FileNotFoundError, match="none"):
            read(tmp_path / "none")
