"""What is looked at: figures of runs, and pages that hold them."""

from roots.evaluation.comparison import compare
from roots.evaluation.corpus_page import report_corpus
from roots.evaluation.figures import draw_run
from roots.evaluation.page import Page
from roots.evaluation.run_page import report_run

__all__ = ["Page", "compare", "draw_run", "report_corpus", "report_run"]
