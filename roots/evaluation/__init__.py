"""What is looked at: figures of runs."""

from roots.evaluation.figures import draw_run

__all__ = ["draw_run"]
