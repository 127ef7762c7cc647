"""What is looked at: figures of runs, and pages that hold them."""

from roots.evaluation.coloured_text import ColouredText
from roots.evaluation.comparison import compare
from roots.evaluation.corpus_page import report_corpus
from roots.evaluation.network_figures import (
    draw_attention,
    draw_projection,
    principal_components,
)
from roots.evaluation.page import Page
from roots.evaluation.run_page import report_run

__all__ = [
    "ColouredText",
    "Page",
    "compare",
    "draw_attention",
    "draw_projection",
    "principal_components",
    "report_corpus",
    "report_run",
]
