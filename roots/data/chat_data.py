"""What data modules of conversations share: a chat template, kept with the tokenizer."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from roots.data.task_data import TaskData
from roots.errors import DataError
from roots.records import BadRow, Row
from roots.sources.rows.checks import bad
from roots.tokenizer import Chat, Rendered, TemplateRefusal, Tokenizer


class ChatData(TaskData):
    """Reads rows of which a chat template makes text; the template is the argument `template`."""

    ARGUMENTS: ClassVar = ("template",)

    template: str

    @cached_property
    def chat(self) -> Chat:
        """What makes tokens of conversations."""
        return Chat(self._given_tokenizer, self.template)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, with the template that is used."""
        own = self._given_tokenizer
        settings = {**own.settings, "chat_template": self.chat.template.text}
        return Tokenizer(definition=own.definition, settings=settings)

    @cached_property
    def _given_tokenizer(self) -> Tokenizer:
        return self.read_tokenizer()

    def recall(self, told: Any) -> None:
        """Takes the template as well, whose file may be gone; not where another is asked for."""
        super().recall(told)
        self._given_tokenizer = told.tokenizer
        if self.template == told.arguments.get("template", ""):
            self.chat = Chat(told.tokenizer)

    def rendered(self, row: Row, messages: Any) -> Rendered | BadRow:
        """Writes a row's turns by the template, or says why it does not take them."""
        try:
            return self.chat.render(messages)
        except TemplateRefusal as error:
            what = f"the chat template does not take it: {error}"
            return bad(row, "refused by the template", what, "Mend it")
        except DataError as error:
            raise DataError(f"{row.where}: {error}") from error
