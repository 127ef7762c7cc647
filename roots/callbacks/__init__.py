"""What happens beside the training: records, checkpoints, progress, samples, alarms."""

from roots.callbacks.checkpoints import Checkpoints
from roots.callbacks.compilation import Compilation
from roots.callbacks.early_stopping import EarlyStopping
from roots.callbacks.generated_texts import GeneratedTexts
from roots.callbacks.live_curves import LiveCurves
from roots.callbacks.loss_spikes import LossSpikes
from roots.callbacks.metrics_csv import MetricsCSV
from roots.callbacks.progress import Progress
from roots.callbacks.recorder import Recorder
from roots.callbacks.row_lengths import RowLengths
from roots.callbacks.samples import Samples
from roots.callbacks.skipped_steps import SkippedSteps
from roots.callbacks.stability import NonFinite, StepRule
from roots.callbacks.stop_signals import StopSignals
from roots.callbacks.throughput import Throughput
from roots.callbacks.wandb_run import WandbRun
from roots.callbacks.weight_average import WeightAverage

__all__ = [
    "Checkpoints",
    "Compilation",
    "EarlyStopping",
    "GeneratedTexts",
    "LiveCurves",
    "LossSpikes",
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
]
