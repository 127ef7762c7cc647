"""The README.md of an exported folder: what it is, where it comes from, how to open it."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel

from roots.deployment.manifest import ExportManifest
from roots.deployment.opening import AUTO
from roots.inference.finding import Source
from roots.networks.base_weights import adapter_revision

CARD = "README.md"
_THIS = "path/to/this/folder"
_NOT_AUTO = (
    "# not AutoTokenizer: it cuts texts by the rules of {family} in place of those of\n"
    "# tokenizer.json, into other tokens than the network was trained on\n"
)
_CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
---
# {title}

{facts}

## Load it

```python
{how}
```

`manifest.json` holds the sha256 of each file. Nothing beyond the lines above was measured: test it
on your own task before you rely on it. It says what its training text made likely, true or not.
"""


def card(
    source: Source,
    manifest: ExportManifest,
    network: PreTrainedModel,
    *,
    opens: str = AUTO,
    base: str = "",
) -> str:
    """Writes the card; it names no path of this machine, but for an adapter's base.

    Args:
        source: What was exported.
        manifest: What is known of it.
        network: What is described.
        opens: The class of transformers that opens the tokenizer.
        base: What an adapter lies on.
    """
    architecture = type(network).__name__
    what = f"Adapter of a {architecture}" if base else f"Architecture: {architecture}"
    facts = [
        f"- {what}, {manifest.parameters:,} parameters, {manifest.dtype}",
        f"- Exported from: `{manifest.source}`, with roots {manifest.roots_version}",
    ]
    if manifest.step is not None:
        facts.append(f"- Optimizer steps: {manifest.step:,}{_tokens(source)}")
    facts += [f"- {name}: {value:.4f}" for name, value in sorted(manifest.metrics.items())]
    return _CARD.format(
        title=manifest.source,
        facts="\n".join(facts),
        how=_how_to_load(network, opens, base, adapter_revision(source.folder)),
    )


def how_to_load(folder: Path) -> str:
    """Gives the lines of the card that open an export, with its path in them."""
    text = (folder / CARD).read_text(encoding="utf-8")
    lines = text.split("```python\n")[1].split("\n```")[0]
    return lines.replace(repr(_THIS), repr(str(folder)))


def _how_to_load(network: PreTrainedModel, opens: str, base: str, revision: str) -> str:
    """Words the lines that open an export; `base` is what an adapter lies on."""
    which = f", revision={revision!r}" if revision != "main" else ""
    opened = f"network = AutoModelForCausalLM.from_pretrained({base or _THIS!r}{which})\n"
    if base:
        opened = f"from peft import PeftModel\n{opened}"
        opened += f"network = PeftModel.from_pretrained(network, {_THIS!r})\n"
    module = type(network).__module__
    if not module.startswith("transformers"):
        opened = f"import {module}  # defines and registers the network's class\n{opened}"
    why = "" if opens == AUTO else _NOT_AUTO.format(family=network.config.model_type)
    return (
        f"from transformers import AutoModelForCausalLM, {opens}\n{opened}"
        f"{why}tokenizer = {opens}.from_pretrained({_THIS!r})"
    )


def _tokens(source: Source) -> str:
    tokens = None if source.checkpoint is None else source.checkpoint.tokens
    return "" if tokens is None else f" ({tokens:,} tokens)"
