"""`roots reproduce`: a run is run again, and its numbers are held against those of the first time.

surroundings  code, packages, hardware and data then and now
verdict       the metrics of two runs: bitwise equal, within a tolerance, or different, and where
rerun         reproduce(): prepares the second run, trains it, and judges
command       what a person types and sees
"""

from roots.fit.reproduce.rerun import Reproduction, reproduce
from roots.fit.reproduce.verdict import Verdict, judge

__all__ = ["Reproduction", "Verdict", "judge", "reproduce"]
