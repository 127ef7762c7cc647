"""The `parameters` of a sweep file, read as W&B documents them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from roots.errors import ConfigError, nearest
from roots.sweeps.parameters import TAIL, Parameter

RANGES = (
    "int_uniform",
    "uniform",
    "log_uniform",
    "log_uniform_values",
    "inv_log_uniform",
    "inv_log_uniform_values",
)
BELLS = ("normal", "log_normal", "beta")
QUANTISED = ("uniform", "log_uniform", "log_uniform_values", "normal", "log_normal", "beta")
KEYS = {
    "constant": {"value"},
    "categorical": {"values", "probabilities"},
    **{name: {"min", "max"} for name in RANGES},
    "normal": {"mu", "sigma"},
    "log_normal": {"mu", "sigma"},
    "beta": {"a", "b"},
}
"""The keys of each distribution beside `distribution`; with `q_` before its name also `q`."""
DISTRIBUTIONS = (*KEYS, *(f"q_{name}" for name in QUANTISED))
NUMBERS = ("min", "max", "mu", "sigma", "a", "b", "q")
EXACT = 2**53
"""Beyond it whole numbers are no longer told apart where they are kept."""


def read_parameters(table: Any, prefix: str = "") -> list[Parameter]:
    """Reads the `parameters` of a sweep file; nested ones get the dotted names of our flags.

    Raises:
        ConfigError: A parameter says nothing, too much, or something impossible.
    """
    where = f"parameters.{prefix}".rstrip(".")
    if not isinstance(table, Mapping) or not table:
        raise ConfigError(
            f"{where} must name at least one parameter, such as"
            " `model.optimizer.init_args.learning_rate: {min: 0.001, max: 0.01}`."
        )
    found: list[Parameter] = []
    for name, spec in table.items():
        if not isinstance(spec, Mapping):
            raise ConfigError(
                f"{where}.{name} is {spec!r}. Write `value: {spec}` below it, or `values`, or `min`"
                " and `max`."
            )
        if "parameters" in spec:
            _refuse_unknown(f"{where}.{name}", spec, {"parameters"})
            found += read_parameters(spec["parameters"], f"{prefix}{name}.")
        else:
            found.append(read_parameter(f"{prefix}{name}", spec))
    return found


def read_number(name: str, given: Any) -> float | int:
    """Reads a number; YAML takes `1e-3`, which lacks a point, for a text.

    Raises:
        ConfigError: It is none, or not a finite one.
    """
    try:
        number = given if isinstance(given, (int, float)) else float(given)
        is_finite = math.isfinite(number)
    except (TypeError, ValueError, OverflowError):
        is_finite = False
    if isinstance(given, bool) or not is_finite:
        raise ConfigError(f"{name}={given!r} is no finite number. Correct it.")
    return number


def read_parameter(name: str, spec: Mapping[str, Any]) -> Parameter:
    """Reads one parameter.

    Raises:
        ConfigError: It says nothing, too much, or something impossible.
    """
    where = f"parameters.{name}"
    kind = str(spec.get("distribution") or _default(where, spec))
    kind = "categorical" if kind == "categorical_w_probabilities" else kind
    if kind not in DISTRIBUTIONS:
        raise ConfigError(
            f"{where}: there is no distribution {kind!r}{nearest(kind, DISTRIBUTIONS)}. There are"
            f" {', '.join(DISTRIBUTIONS)}."
        )
    plain = kind.removeprefix("q_")
    _refuse_unknown(where, spec, {"distribution", *KEYS[plain], *({"q"} & {kind[:1]})})
    if plain in ("constant", "categorical"):
        return _read_choices(where, name, plain, spec)
    q = _quantum(where, spec) if kind != plain else 0.0
    read = _read_bell if plain in BELLS else _read_range
    parameter = read(where, name, plain, spec, q)
    _refuse_endless(where, parameter)
    return parameter


def _default(where: str, spec: Mapping[str, Any]) -> str:
    if "value" in spec:
        return "constant"
    if "values" in spec:
        return "categorical"
    if "min" in spec and "max" in spec:
        ends = _number(where, spec, "min"), _number(where, spec, "max")
        return "int_uniform" if all(isinstance(end, int) for end in ends) else "uniform"
    raise ConfigError(
        f"{where} has {', '.join(map(str, spec)) or 'nothing'}: it needs `value`, `values`, `min`"
        " and `max`, a `distribution`, or `parameters` of its own."
    )


def _read_choices(where: str, name: str, kind: str, spec: Mapping[str, Any]) -> Parameter:
    if kind == "constant":
        value = _needed(where, spec, "value")
        _refuse_unwritable(where, value)
        return Parameter(name, kind, scale="choice", choices=(value,))
    values = _needed(where, spec, "values")
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise ConfigError(f"{where}.values is {values!r}. Make it a list of one or more values.")
    for value in values:
        _refuse_unwritable(where, value)
    parameter = Parameter(name, kind, scale="choice", choices=tuple(values))
    if len(set(parameter.labels)) < len(values):
        raise ConfigError(f"{where}.values names a value twice: {values}. Leave one out.")
    if "probabilities" not in spec:
        return parameter
    shares = _probabilities(where, spec["probabilities"], len(values))
    return Parameter(
        name, kind, 0.0, 1.0 - TAIL, "quantile", choices=tuple(values), probabilities=shares
    )


def _probabilities(where: str, given: Any, n_values: int) -> tuple[float, ...]:
    is_list = isinstance(given, Sequence) and not isinstance(given, str)
    shares = [read_number(f"{where}.probabilities", share) for share in given] if is_list else []
    if len(shares) != n_values or any(share < 0 for share in shares):
        raise ConfigError(
            f"{where}.probabilities is {given!r} for {n_values} values. Give each value one number,"
            " 0 or more."
        )
    if not math.isclose(sum(shares), 1.0, rel_tol=1e-6):
        raise ConfigError(f"{where}.probabilities add up to {sum(shares):g}. Make that 1.")
    return tuple(float(share) for share in shares)


def _refuse_unwritable(where: str, value: Any) -> None:
    try:
        json.dumps(value, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{where}: {value} is no text, number, list or table ({error}). Write it in quotes;"
            " YAML takes 2026-01-02 for a date."
        ) from error


def _refuse_endless(where: str, parameter: Parameter) -> None:
    """Refuses a range or a bell whose ends are too large to be numbers."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            ends = [*parameter.extremes(), parameter.high - parameter.low]
    except OverflowError:
        ends = [math.inf]
    if not all(map(math.isfinite, ends)):
        raise ConfigError(
            f"{where}: {parameter.distribution} reaches values that are too large or too small for"
            " a number. Set min and max, or mu and sigma, nearer to 0, or a larger q."
        )


def _read_range(where: str, name: str, kind: str, spec: Mapping[str, Any], q: float) -> Parameter:
    low, high = _number(where, spec, "min"), _number(where, spec, "max")
    if low >= high:
        raise ConfigError(f"{where}: min={low:g} is not below max={high:g}. Exchange or move them.")
    if kind == "int_uniform":
        if not (float(low).is_integer() and float(high).is_integer()):
            raise ConfigError(
                f"{where}: int_uniform between {low:g} and {high:g}. Make both whole numbers, or"
                " take uniform."
            )
        if max(-low, high) > EXACT:
            raise ConfigError(
                f"{where}: int_uniform between {low:g} and {high:g}. Whole numbers are exact to"
                f" {EXACT:,}: move the ends there, or take uniform."
            )
        return Parameter(name, kind, int(low), int(high), "whole")
    if kind.endswith("_values") and low <= 0:
        raise ConfigError(f"{where}: {kind} has no logarithm of min={low:g}. Set it above 0.")
    if kind == "log_uniform":
        low, high = _exp(where, low), _exp(where, high)
    if kind == "inv_log_uniform":
        low, high = _exp(where, -high), _exp(where, -low)
    return Parameter(name, kind, low, high, "log" if "log" in kind else "linear", q=q)


def _read_bell(where: str, name: str, kind: str, spec: Mapping[str, Any], q: float) -> Parameter:
    first, second = ("a", "b") if kind == "beta" else ("mu", "sigma")
    shape = (
        _number(where, spec, first, 1.0 if kind == "beta" else 0.0),
        _number(where, spec, second, 1.0),
    )
    if shape[1] <= 0 or (kind == "beta" and shape[0] <= 0):
        raise ConfigError(
            f"{where}: {kind} with {first}={shape[0]:g} and {second}={shape[1]:g} is impossible."
            f" Set {second if kind != 'beta' else 'both'} above 0."
        )
    return Parameter(name, kind, TAIL, 1 - TAIL, "quantile", q=q, shape=shape)


def _quantum(where: str, spec: Mapping[str, Any]) -> float:
    q = _number(where, spec, "q", 1)
    if q <= 0:
        raise ConfigError(f"{where}: q={q:g} rounds to nothing. Set it above 0.")
    return q


def _number(
    where: str, spec: Mapping[str, Any], key: str, default: float | None = None
) -> float | int:
    given = _needed(where, spec, key) if default is None else spec.get(key, default)
    return read_number(f"{where}.{key}", given)


def _needed(where: str, spec: Mapping[str, Any], key: str) -> Any:
    if key not in spec:
        told = spec.get("distribution", "")
        raise ConfigError(f"{where} lacks {key}{f', which {told} needs' if told else ''}. Add it.")
    return spec[key]


def _refuse_unknown(where: str, spec: Mapping[str, Any], known: set[str]) -> None:
    for key in spec:
        if key not in known:
            raise ConfigError(
                f"{where}.{key} is not used{nearest(str(key), known)}: there"
                f" {'are' if len(known) > 1 else 'is'} {', '.join(sorted(known))} beside each other"
                " here. Leave it out, or take another distribution."
            )


def _exp(where: str, number: float) -> float:
    try:
        value = math.exp(number)
    except OverflowError:
        value = math.inf
    if not 0 < value < math.inf:
        raise ConfigError(
            f"{where}: min and max are exponents of e here, and e^{number:g} is no number. For the"
            " values themselves take log_uniform_values."
        )
    return value
