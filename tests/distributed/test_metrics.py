"""Metrics on two ranks against one process."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from measured import N_ROWS, measured, same_values
from ranks import run_ranks


def values_of_ranks(cut: int) -> dict[str, Any]:
    """Gives the first `cut` rows to the first rank, the others to the second, in two batches."""
    torch.distributed.init_process_group("gloo")
    first = torch.distributed.get_rank() == 0
    start, end = (0, cut) if first else (cut, N_ROWS)
    made: dict[str, Any] = {}
    for name, example in measured().items():
        metric = example.make()
        middle = (start + end) // 2
        for part in ((start, middle), (middle, end)) if end > start else ():
            metric.update(*example.part(*part))
        made[name] = metric.values()
        assert same_values(metric.values(), made[name])  # the ranks' sums are their own again
        made[f"{name} details"] = metric.details()
    return made


@pytest.mark.parametrize("cut", [11, N_ROWS])  # the second rank has no row at all
def test_two_ranks_measure_what_one_measures(cut: int) -> None:
    ranks = run_ranks(values_of_ranks, cut)
    for name, example in measured().items():
        metric = example.make()
        metric.update(*example.rows)
        for rank in ranks:
            assert same_values(rank[name], metric.values())
            assert rank[f"{name} details"].keys() == metric.details().keys()
        assert ranks[0][f"{name} details"] == ranks[1][f"{name} details"]
    confusion = ranks[0]["Classification details"]["confusion"]["counts"]
    kept = (measured()["Classification"].rows[1] != -100) & measured()["Classification"].rows[2]
    assert sum(map(sum, confusion)) == int(kept.sum())
    alone = measured()["Residuals"].make()
    alone.update(*measured()["Residuals"].rows)
    wanted, found = alone.details()["numbers"], ranks[0]["Residuals details"]["numbers"]
    assert (found["largest"], found["count"]) == (wanted["largest"], wanted["count"])
    assert "nrefs:var" in ranks[1]["GeneratedText details"]["signatures"]["bleu"]
