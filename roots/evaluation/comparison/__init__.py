"""`roots compare`: how runs differ, in what they were told and in what they came to.

reading     what is compared of a run: settings, data, metrics, time
groups      runs that differ only by seed are one; what they came to is a mean and a spread
validation  whether two runs were validated on the same
welch       whether two groups differ by more than chance
comparing   compare(): all of it, as plain values
figure      the curves over steps, tokens and time
page        … and command: what a person sees
"""

from roots.evaluation.comparison.comparing import Comparison, compare
from roots.evaluation.comparison.figure import draw
from roots.evaluation.comparison.page import in_words

__all__ = ["Comparison", "compare", "draw", "in_words"]
