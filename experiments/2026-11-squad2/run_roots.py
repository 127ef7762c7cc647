"""One run of roots, by the run file that is shipped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from setting import Answered, arguments, composed, write


def main() -> None:
    given = arguments()
    run = composed(given)
    began = time.perf_counter()
    run.fit()
    seconds = time.perf_counter() - began

    def answer(questions: Sequence[Any]) -> Answered:
        said = run.model.predict([(q.text, q.context) for q in questions])
        return [(row["candidates"][0]["text"], row["no_answer"]) for row in said]

    own = {name: value for name, value in run.trainer.latest.items() if name.startswith("val/")}
    write(given, run.data, answer, seconds=seconds, own=own)


if __name__ == "__main__":
    main()
