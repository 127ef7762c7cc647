"""The torch-free records that flow between rooms, and the plain form of a configured object.

documents.py   documents, and the verdicts on them
rows.py        labelled rows, bad rows, questions and their windows
vocabulary.py  what a network must know of its tokens and labels
plain_form.py  plain, rebuild: objects as plain values, and back
durations.py   duration, clock: times in words
json_text.py   as_json: plain values as JSON that every reader takes
exchanging.py  exchange: two names that change places at once
paths.py       expanded, is_file, is_folder: the name of a place, and what is there
yaml_file.py   read_yaml: a file that a person wrote, with each key once
"""

from roots.records.documents import KEEP, Document, Drop, Edit, Keep, Reject, Verdict
from roots.records.durations import clock, duration
from roots.records.exchanging import exchange
from roots.records.json_text import as_json
from roots.records.paths import expanded, is_file, is_folder
from roots.records.plain_form import class_path, plain, rebuild
from roots.records.rows import BadRow, Question, QuestionWindow, Row
from roots.records.vocabulary import Labels, Vocabulary
from roots.records.yaml_file import read_yaml

__all__ = [
    "KEEP",
    "BadRow",
    "Document",
    "Drop",
    "Edit",
    "Keep",
    "Labels",
    "Question",
    "QuestionWindow",
    "Reject",
    "Row",
    "Verdict",
    "Vocabulary",
    "as_json",
    "class_path",
    "clock",
    "duration",
    "exchange",
    "expanded",
    "is_file",
    "is_folder",
    "plain",
    "read_yaml",
    "rebuild",
]
