import os
from collections.abc import Iterator
from pathlib import Path

import pytest

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before a test module imports NumPy or torch


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store of demonstrations of our own, which every process that a test starts uses, too; filled when needed."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MGAIL_BENCH_DATA", str(shared / "demonstrations"))
        yield shared / "demonstrations"


@pytest.fixture(scope="session")
def toy() -> str:
    """The algorithm of tests/toy_method.py as a user names it."""
    return f"{Path(__file__).parent / 'toy_method.py'}:Toy"
