"""RayStages under Ray Data, and DatatroveStages under datatrove's executor for Ray."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from engine_documents import single_machine, stages, write_files

from roots.corpus.engines import RayStages
from roots.errors import DataError

pytest.importorskip("ray", reason="Ray is not installed (extra ray)")
pytest.importorskip("pandas", reason="Ray Data needs pandas (extra ray)")

# Ray's own warnings would end its threads in this process, and with them the run.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[None]:
    """A cluster of two CPUs on this machine, whose workers find roots and the tests."""
    import ray

    paths = os.pathsep.join(path for path in sys.path if path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            num_cpus=2,
            object_store_memory=100 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"env_vars": {"PYTHONPATH": paths}},
        )
        yield
        ray.shutdown()


def test_a_cluster_keeps_what_one_machine_keeps(cluster, tmp_path: Path) -> None:
    import ray

    given = write_files(tmp_path / "pages")
    rows = [{"text": d.text, "id": d.id, **d.metadata} for d in given]
    step = RayStages(stages())
    pages = ray.data.from_items(rows, override_num_blocks=2)
    decided = pages.map_batches(step, batch_format="pyarrow", batch_size=10).materialize()
    kept = decided.map_batches(RayStages.kept, batch_format="pyarrow")
    kept.write_parquet(str(tmp_path / "kept"))

    expected, books = single_machine(given)
    written = pq.read_table(tmp_path / "kept").sort_by("n")
    assert written["text"].to_pylist() == [d.text for d in expected]
    assert written["id"].to_pylist() == [d.id for d in expected]
    assert written.column_names == ["text", "id", "source", "n"]
    assert step.books(decided).plain() == books.plain()
    with pytest.raises(DataError, match="before rows are taken out"):
        step.books(decided.filter(lambda row: row["dropped_by"] is None))


def test_datatrove_runs_the_step_under_ray(cluster, tmp_path: Path) -> None:
    pytest.importorskip("datatrove", reason="datatrove is not installed (extra datatrove)")
    from datatrove.executor import RayPipelineExecutor
    from test_datatrove_stages import pipeline, read

    from roots.corpus.engines import read_books

    given = write_files(tmp_path / "pages")
    logs = str(tmp_path / "logs")
    executor = RayPipelineExecutor(
        pipeline(tmp_path), tasks=2, workers=2, mem_per_cpu_gb=0.2, logging_dir=logs
    )
    executor.run()
    expected, books = single_machine(given)
    assert [d["text"] for d in read(tmp_path / "kept")] == [d.text for d in expected]
    assert read_books(tmp_path / "books").plain() == books.plain()
