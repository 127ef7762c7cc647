"""What must hold of a conversation: who speaks when, and that each says something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roots.records import BadRow, Row
from roots.sources.jsonl import kind_of
from roots.sources.rows.checks import bad

ROLES = ("system", "user", "assistant")
Turn = dict[str, str]


class Messages:
    """Makes a row's `messages` a list of turns, checked; `prompt` and `response` become one.

    A conversation may begin with the system; then the user and the assistant take turns, the user
    first, and it ends with an answer. Keys of a turn beside `role` and `content` are dropped.
    """

    def __call__(self, row: Row) -> Row | BadRow:
        """Gives the row with nothing but `messages`."""
        found = row.fields.get("messages")
        if found is None and "prompt" in row.fields and "response" in row.fields:
            found = _of_columns(row.fields)
        if found is None:
            what = "there are neither 'messages' nor 'prompt' and 'response'"
            return bad(row, "no messages", what, "Name them in data.columns")
        turns = checked_turns(row, found, "messages")
        if isinstance(turns, BadRow):
            return turns
        if turns[-1]["role"] != "assistant":
            what = f"the last of {len(turns)} turns is the {turns[-1]['role']}'s"
            return bad(row, "no answer", what, "End it with an answer of the assistant")
        return Row({"messages": turns}, row.where)


def checked_turns(
    row: Row, found: object, field: str, *, before: str = "", of: str = ""
) -> list[Turn] | BadRow:
    """Gives the turns of a list, each with a role that may be there and a text.

    Args:
        row: Whose they are.
        found: The list.
        field: What it is called.
        before: The role of the turn before the first; empty where there is none.
        of: What follows the number of a turn in a message.
    """
    if not isinstance(found, (list, tuple)) or not found:
        what = f"'{field}' is {'empty' if found == [] else kind_of(found)}"
        return bad(row, "no messages", what, "Give a list of {role: …, content: …}")
    turns: list[Turn] = []
    for number, turn in enumerate(found, 1):
        role = turns[-1]["role"] if turns else before
        checked = _turn(row, turn, f"turn {number}{of}", role)
        if isinstance(checked, BadRow):
            return checked
        turns.append(checked)
    return turns


def _of_columns(fields: Mapping[str, object]) -> list[dict[str, object]]:
    given = {"system": fields.get("system"), "user": fields["prompt"]}
    turns = [{"role": role, "content": text} for role, text in given.items()]
    first = 0 if fields.get("system") else 1  # an empty column of system prompts is none
    return [*turns[first:], {"role": "assistant", "content": fields["response"]}]


def _turn(row: Row, turn: object, name: str, before: str) -> Turn | BadRow:
    if not isinstance(turn, Mapping) or not {"role", "content"} <= turn.keys():
        what = f"{name} is {_shape(turn)}, not an object with role and content"
        return bad(row, "no messages", what, "Write {role: …, content: …}")
    role, content = turn["role"], turn["content"]
    if role not in ROLES:
        what = f"{name} has the role {role!r}, which is none of {', '.join(ROLES)}"
        return bad(row, "unknown role", what, "Correct it")
    if role not in _may_follow(before):
        what = f"{name} is the {role}'s, {f'behind one of the {before}' if before else 'the first'}"
        cure = f"Put {' or '.join(_may_follow(before))} there"
        return bad(row, "roles out of order", what, cure)
    if not isinstance(content, str):
        return bad(row, "not text", f"the content of {name} is {kind_of(content)}", "Write a text")
    if not content.strip():
        return bad(row, "empty text", f"{name}, the {role}'s, is empty", "Fill it in")
    return {"role": role, "content": content}


def _may_follow(before: str) -> Sequence[str]:
    return {"": ("system", "user"), "system": ("user",), "user": ("assistant",)}.get(
        before, ("user",)
    )


def _shape(turn: object) -> str:
    if isinstance(turn, Mapping):
        return f"an object with {', '.join(map(str, turn)) or 'nothing'}"
    return kind_of(turn)
