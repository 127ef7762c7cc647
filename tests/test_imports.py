"""What the packages offer, by name: a test of the public surface."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import roots
from roots.errors import MissingExtra

OFFERED = {
    "roots": {"DataLoader", "Model", "Trainer", "compose", "load", "resume"},
    "roots.fit": {"Trainer", "compose", "load", "merge", "read_run_files", "resume"},
    "roots.callbacks": {
        "Checkpoints",
        "Compilation",
        "EarlyStopping",
        "LiveCurves",
        "LossSpikes",
        "GeneratedTexts",
        "MetricsCSV",
        "NonFinite",
        "Progress",
        "Recorder",
        "RowLengths",
        "Samples",
        "SkippedSteps",
        "StepRule",
        "StopSignals",
        "Throughput",
        "WandbRun",
        "WeightAverage",
    },
    "roots.corpus": {
        "Books",
        "BytePairs",
        "C4Quality",
        "Characters",
        "Contamination",
        "Corpus",
        "ExactDuplicates",
        "Existing",
        "FineWebQuality",
        "GopherQuality",
        "GopherRepetition",
        "Language",
        "NearDuplicates",
        "Normalise",
        "OrderedMap",
        "Part",
        "Pass",
        "PersonNames",
        "Pii",
        "Pipeline",
        "RepeatedLines",
        "Stage",
        "TokenizerPlan",
        "Unigram",
        "WordPiece",
        "adopt",
        "split_of",
    },
    "roots.corpus.engines": {"DatatroveStages", "NearDuplicateSteps", "RayStages", "read_books"},
    "roots.optim": {
        "AdamW",
        "AdamW8bit",
        "Combined",
        "Constant",
        "MasterWeights",
        "Muon",
        "OptimizerBuilder",
        "Schedule",
        "TorchOptimizer",
        "WarmupCosine",
        "WarmupLinear",
        "WarmupStableDecay",
        "clipped",
        "decays",
        "hidden_matrices",
        "left_out",
        "parameter_groups",
    },
    "roots.plan": {"Plan", "Target", "device_meant", "plan_run", "refuse_early", "target_named"},
    "roots.sweeps": {
        "Definition",
        "Hyperband",
        "Metric",
        "Parameter",
        "Sweep",
        "open_sweep",
        "read_definition",
        "read_sweep",
    },
    "roots.evaluation": {
        "ColouredText",
        "Page",
        "compare",
        "draw_attention",
        "draw_projection",
        "principal_components",
        "report_corpus",
        "report_run",
    },
    "roots.metrics": {
        "Calibration",
        "Candidate",
        "Classification",
        "EntityF1",
        "GeneratedText",
        "Mistakes",
        "MultiLabel",
        "Reading",
        "Regression",
        "Residuals",
        "SpanAnswers",
        "SquadScore",
        "SummedMetric",
        "best_spans",
        "best_threshold",
        "entities_of",
        "squad_exact_match",
        "squad_f1",
    },
    "roots.modules": {
        "CausalLM",
        "Companion",
        "Distiller",
        "LanguageModule",
        "MaskedLM",
        "PreferenceLM",
        "QuestionAnswering",
        "Seq2Seq",
        "SequenceClassifier",
        "StepModule",
        "StepReport",
        "TaskModule",
        "TokenClassifier",
    },
}


@pytest.mark.parametrize(("package", "names"), OFFERED.items())
def test_a_package_offers_these_names_and_no_others(package: str, names: set[str]) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) == names
    try:
        assert all(getattr(module, name) is not None for name in names)
    except MissingExtra as error:
        pytest.skip(str(error))
    assert names <= set(dir(module))


def test_the_three_line_start_is_at_the_top() -> None:
    from roots import quick

    assert (roots.DataLoader, roots.Model, roots.Trainer) == (
        quick.DataLoader,
        quick.Model,
        quick.Trainer,
    )


def test_a_name_that_is_not_offered_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'roots' has no attribute 'Modle'"):
        roots.Modle


def test_importing_roots_or_the_text_side_imports_no_torch() -> None:
    """Another process, because this one has torch already."""
    code = (
        "import sys, roots; dir(roots); roots.__version__;"
        "import roots.errors, roots.records, roots.runs, roots.corpus, roots.sources, roots.shards,"
        "roots.stores;"
        "sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
