"""Every harness over its corpus, and over each input cut short, without atheris: harnesses must not rot.

`make fuzz` runs them for real. What fuzzing once found belongs into the corpus.
"""

import contextlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HARNESSES = sorted(path.stem for path in HERE.glob("fuzz_*.py"))


@pytest.fixture
def fake_atheris(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("atheris")

    @contextlib.contextmanager
    def instrument_imports(**_: object) -> Iterator[None]:
        yield

    module.instrument_imports = instrument_imports  # type: ignore[attr-defined]
    module.instrument_func = lambda function: function  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "atheris", module)


def _entry(name: str) -> Callable[[bytes], object]:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entry: Callable[[bytes], object] = module.test_one_input
    return entry


@pytest.mark.parametrize("name", HARNESSES)
@pytest.mark.usefixtures("fake_atheris")
def test_the_corpus_breaks_nothing(name: str) -> None:
    entry = _entry(name)
    inputs = sorted((HERE / "corpus" / name.removeprefix("fuzz_")).iterdir())
    assert inputs, "a harness has a corpus"
    entry(b"")
    for path in inputs:
        data = path.read_bytes()
        for cut in {len(data), len(data) // 2, len(data) // 3, 1}:
            entry(data[:cut])
