"""What is measured on predictions: torchmetrics whose states add up over batches and ranks.

Every metric is used the same way: `update(...)` with a batch, then `values()`, then `reset()`. What
is kept are counts and sums (for ranks of numbers, the numbers), so the values are the same however
the rows were split over batches and ranks; `values()` and `details()` are collectives, which all
ranks call. Where ranks hold the same rows (tensor parallelism), `process_group` names those that
do not.

Rows that count for nothing are left out by a label of `IGNORE` (-100) or by `keep`, a mask that is
False there. Metrics of texts take lists of the rows that count.

Names of the values:
    <quantity>              over all rows: accuracy, mcc, pearson, exact_match, f1, bleu, ece
    <quantity>_<average>    over classes, labels or entity types: f1_macro (the mean of those that
                            occur), f1_micro (of the summed counts)
    <quantity>/<part>       of one part: f1/World, recall/PER, exact_match/HasAns; white space and
                            slashes in a name become underscores
Fractions are 0 to 1; BLEU and chrF are 0 to 100, as sacrebleu has them. Which names there are
depends on the settings and on what is to be predicted, never on the predictions. A precision,
recall or F1 of what occurs is 0 where its denominator is 0; what is not defined (no rows, a class
that occurs neither among labels nor predictions, the correlation of a constant) is nan, and no mean
counts it.

Shape letters: N rows   B sequences   T tokens   C classes   L labels   V vocabulary   M bins
"""

from roots.metrics.best_spans import Candidate, Reading, best_spans
from roots.metrics.calibration import Calibration
from roots.metrics.classification import Classification
from roots.metrics.entities import entities_of
from roots.metrics.entity_f1 import EntityF1
from roots.metrics.generated_text import GeneratedText
from roots.metrics.mistakes import Mistakes
from roots.metrics.multi_label import MultiLabel
from roots.metrics.regression import Regression
from roots.metrics.residuals import Residuals
from roots.metrics.span_answers import SpanAnswers
from roots.metrics.squad import SquadScore
from roots.metrics.squad_answers import best_threshold, squad_exact_match, squad_f1
from roots.metrics.summed import SummedMetric

__all__ = [
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
]
