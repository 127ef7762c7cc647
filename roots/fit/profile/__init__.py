"""`roots profile`: where the time and the memory of a training step go.

ranges   marks the parts of a step while the profiler runs, from outside the training code
steps    trains: warm-up, as many steps without the profiler as with it
trace    reads the trace that torch's profiler wrote
parts    says which part and phase an event of the trace belongs to
books    adds up: every microsecond of the steps belongs to one part, and the sums say so
table    … figure, command: what a person sees
"""

from roots.fit.profile.books import Books, balance
from roots.fit.profile.steps import profile_steps
from roots.fit.profile.trace import Trace, read_trace

__all__ = ["Books", "Trace", "balance", "profile_steps", "read_trace"]
