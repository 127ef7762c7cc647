"""The README.md of an exported folder: what it is, where it comes from, how to open it."""

from __future__ import annotations

from roots.deployment.manifest import ExportManifest
from roots.inference.finding import Source
from roots.networks.base_weights import adapter_revision

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


def card(source: Source, manifest: ExportManifest, *, architecture: str, base: str = "") -> str:
    """Writes the card; it names no path of this machine, but for an adapter's base."""
    facts = [
        f"- Architecture: {architecture}, {manifest.parameters:,} parameters, {manifest.dtype}",
        f"- Exported from: `{manifest.source}`, with roots {manifest.roots_version}",
    ]
    if manifest.step is not None:
        facts.append(f"- Optimizer steps: {manifest.step:,}{_tokens(source)}")
    facts += [f"- {name}: {value:.4f}" for name, value in sorted(manifest.metrics.items())]
    return _CARD.format(
        title=manifest.source,
        facts="\n".join(facts),
        how=how_to_load("path/to/this/folder", base, adapter_revision(source.folder)),
    )


def how_to_load(folder: str, base: str = "", revision: str = "main") -> str:
    """Gives the lines that open an export; `base` is what an adapter lies on."""
    which = f", revision={revision!r}" if revision != "main" else ""
    network = f"network = AutoModelForCausalLM.from_pretrained({base or folder!r}{which})\n"
    if base:
        network = f"from peft import PeftModel\n{network}"
        network += f"network = PeftModel.from_pretrained(network, {folder!r})\n"
    return (
        f"from transformers import AutoModelForCausalLM, AutoTokenizer\n{network}"
        f"tokenizer = AutoTokenizer.from_pretrained({folder!r})"
    )


def _tokens(source: Source) -> str:
    tokens = None if source.checkpoint is None else source.checkpoint.tokens
    return "" if tokens is None else f" ({tokens:,} tokens)"
