"""What must hold of a pair of answers, of which one is preferred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roots.records import BadRow, Row
from roots.sources.jsonl import kind_of
from roots.sources.rows.checks import bad
from roots.sources.rows.messages import Turn, checked_turns

ANSWERS = ("chosen", "rejected")


class PreferredAnswers:
    """Makes `prompt`, `chosen` and `rejected` of a row lists of turns, checked.

    Answers are texts or lists of turns, and the prompt is either too; `system`, where it is there,
    comes before it. Where both answers are whole conversations, the turns that they begin with
    alike are the prompt. It ends with the user, and each answer begins and ends with the assistant.
    """

    def __call__(self, row: Row) -> Row | BadRow:
        """Gives the row with nothing but the three."""
        answers = {name: row.fields.get(name) for name in ANSWERS}
        system = row.fields.get("system")
        if system is not None and not isinstance(system, str):
            what = f"'system' is {kind_of(system)}, not a text"
            return bad(row, "not text", what, "Map a column of texts, or none (data.columns)")
        if all(map(_is_whole, answers.values())):
            parts = _of_wholes(row, answers)
        else:
            parts = _behind_prompt(row, answers)
        if isinstance(parts, BadRow):
            return parts
        for name in ANSWERS:
            if (last := parts[name][-1]["role"]) != "assistant":
                what = f"the last turn of '{name}' is the {last}'s"
                return bad(row, "no answer", what, "End it with an answer of the assistant")
        return Row(dict(parts), row.where)


Parts = dict[str, list[Turn]]


def _is_whole(answer: object) -> bool:
    """Tells whether it is a list of turns that does not begin with the assistant's."""
    first = answer[0] if isinstance(answer, (list, tuple)) and answer else None
    return isinstance(first, Mapping) and first.get("role") != "assistant"


def _behind_prompt(row: Row, answers: dict[str, object]) -> Parts | BadRow:
    prompt = _turns(row, "prompt", row.fields.get("prompt"), "user", _system(row))
    if isinstance(prompt, BadRow):
        return prompt
    if (last := prompt[-1]["role"]) != "user":
        what = f"the last turn of 'prompt' is the {last}'s, and an answer follows it"
        return bad(row, "roles out of order", what, "End it with the user's")
    parts = {"prompt": [*_system(row), *prompt]}
    for name, found in answers.items():
        turns = _turns(row, name, found, "assistant", prompt)
        if isinstance(turns, BadRow):
            return turns
        parts[name] = turns
    return parts


def _of_wholes(row: Row, answers: dict[str, object]) -> Parts | BadRow:
    """Parts whole conversations where they stop being alike."""
    wholes: Parts = {}
    for name, found in answers.items():
        turns = _turns(row, name, found, "", _system(row))
        if isinstance(turns, BadRow):
            return turns
        wholes[name] = turns
    chosen, rejected = wholes.values()
    pairs = zip(chosen, rejected, strict=False)
    alike = next((n for n, (one, other) in enumerate(pairs) if one != other), -1)
    if alike < 0:
        shorter = min(len(chosen), len(rejected))
        what = f"'chosen' and 'rejected' are alike in all of the first {shorter} turns"
        return bad(row, "equal answers", what, "Let them part at an answer of the assistant")
    prompt = chosen[:alike]
    if not prompt or prompt[-1]["role"] != "user":
        what = f"'chosen' and 'rejected' part at turn {alike + 1}, which is no answer"
        return bad(row, "other prompts", what, "Let them begin with the same turns up to an answer")
    if (other := _other_prompt(row, prompt)) is not None:
        return other
    ends = {name: turns[alike:] for name, turns in wholes.items()}
    return {"prompt": [*_system(row), *prompt], **ends}


def _other_prompt(row: Row, common: Sequence[Turn]) -> BadRow | None:
    """Refuses a prompt that stands beside whole conversations and is not in what they share."""
    prompt = row.fields.get("prompt")
    said = [turn["content"] for turn in common if turn["role"] == "user"]
    if prompt in (None, "") or prompt in said or prompt == list(common):
        return None
    what = "'prompt' is none of the user's turns that 'chosen' and 'rejected' begin with"
    return bad(row, "other prompts", what, "Leave it out (data.columns), or correct it")


def _turns(
    row: Row, field: str, found: object, role: str, before: Sequence[Turn]
) -> list[Turn] | BadRow:
    """Gives the turns of a field, where a text is one turn of `role`."""
    if field == "prompt" and found is None:
        what = "there is no 'prompt', and the answers begin with the assistant's turn"
        cure = "Give one, or whole conversations as 'chosen' and 'rejected'"
        return bad(row, "no prompt", what, cure)
    if isinstance(found, str) and role:
        if not found.strip():
            return bad(row, "empty text", f"'{field}' is empty", "Fill it in")
        return [{"role": role, "content": found}]
    if not isinstance(found, (list, tuple)):
        what = f"'{field}' is {kind_of(found)}, neither a text nor a list of turns"
        return bad(row, "not text", what, "Map a column of either (data.columns)")
    last = before[-1]["role"] if before else ""
    return checked_turns(row, found, field, before=last, of=f" of '{field}'")


def _system(row: Row) -> list[Turn]:
    """Gives the turn that a column of system prompts makes; an empty one makes none."""
    text = row.fields.get("system")
    return [{"role": "system", "content": str(text)}] if text and str(text).strip() else []
