"""The README.md of an exported folder: what it is, where it comes from, how to open it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from roots.deployment.manifest import ExportManifest
from roots.inference.finding import Source

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
        facts.append(f"- Optimizer steps: {manifest.step:,}{_tokens_seen(source)}")
    facts += [f"- {name}: {value:.4f}" for name, value in sorted(manifest.metrics.items())]
    return _CARD.format(
        title=manifest.source,
        facts="\n".join(facts),
        how=how_to_load("path/to/this/folder", base=base),
    )


def how_to_load(folder: str, base: str = "") -> str:
    """Gives the lines that open an export; `base` is what an adapter lies on."""
    network = f"network = AutoModelForCausalLM.from_pretrained({base or folder!r})\n"
    if base:
        network = f"from peft import PeftModel\n{network}"
        network += f"network = PeftModel.from_pretrained(network, {folder!r})\n"
    return (
        f"from transformers import AutoModelForCausalLM, AutoTokenizer\n{network}"
        f"tokenizer = AutoTokenizer.from_pretrained({folder!r})"
    )


def tokens_seen(config_file: Path, step: int) -> int | None:
    """Multiplies a run's steps by the tokens of each; None where its data says no fixed length."""
    from roots.data.growing import growing

    try:
        config: Any = yaml.safe_load(config_file.read_text(encoding="utf-8"))
        data = config["data"]["init_args"]
        full, first = data["sequences_per_step"], data.get("first_sequences_per_step", 0)
        grown = growing(first, full, data.get("growing_steps", 0))
        rows = grown.before(step) if grown else step * full
        tokens = rows * data["seq_len"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return None
    return tokens if isinstance(tokens, int) else None


def _tokens_seen(source: Source) -> str:
    if source.run is None or source.checkpoint is None:
        return ""
    found = tokens_seen(source.run.config_file, source.checkpoint.step)
    return "" if found is None else f" ({found:,} tokens)"
