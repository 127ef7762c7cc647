"""What is looked at: figures of runs, and pages that hold them."""

from roots.evaluation.comparison import compare
from roots.evaluation.figures import draw_run
from roots.evaluation.page import Page

__all__ = ["Page", "compare", "draw_run"]
