"""What a caller may pass: array namespaces, and numbers checked once at the boundary.

Every check names the argument, the value it got and what is allowed.
"""

from __future__ import annotations

import operator
from functools import cache
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj

__all__ = [
    "arrays",
    "generator",
    "natural",
    "number",
    "one_of",
    "plain",
    "require",
    "seed_number",
    "seed_numbers",
]


def arrays(*values: Any, names: str = "") -> tuple[Any, ...]:
    """Return ``(xp, *values)``: the common array namespace and the values as floating arrays in it.

    Array-API arrays (PyTorch, JAX, CuPy, ...) keep their namespace, device and floating type;
    Python numbers, sequences and NumPy scalars follow them, and become float64 where there is none to
    follow. `names`, separated by blanks, ask for real numbers and are for the ``ValueError`` that refuses
    anything else.
    """
    given = [v for v in values if not isinstance(v, _PLAIN) and is_array_api_obj(v)]
    if not given:
        return (_numpy_namespace(), *_numpy(values, names))
    xp = array_namespace(*given, *(v for v in values if isinstance(v, np.ndarray) and v.ndim))
    like = next((v for v in given if not xp.isdtype(v.dtype, "integral")), None)
    dtype = xp.float64 if like is None else like.dtype
    if xp.isdtype(dtype, "complex floating"):
        dtype = xp.float64 if dtype == xp.complex128 else xp.float32
    where = device(given[0])
    out = []
    for i, value in enumerate(values):
        if isinstance(value, _PLAIN) or not is_array_api_obj(value):
            is_complex = _checked(value, names, i).dtype.kind == "c"
            target = {xp.float32: xp.complex64}.get(dtype, xp.complex128) if is_complex else dtype
            value = xp.asarray(value, dtype=target, device=where)
        elif names and xp.isdtype(value.dtype, "complex floating"):
            raise ValueError(f"{names.split()[i]} must be real, got {value!r}")
        elif not xp.isdtype(value.dtype, ("real floating", "complex floating")):
            value = xp.astype(value, dtype)
        out.append(value)
    return (xp, *out)


# NumPy and numbers are most calls, and take a short way round the general one
_PLAIN = (np.ndarray, np.generic, float, int, complex)


@cache
def _numpy_namespace() -> Any:
    return array_namespace(np.empty(0))  # at the first call: it takes as long to import as the rest


def _numpy(values: tuple[Any, ...], names: str) -> list[np.ndarray]:
    floating = [v for v in values if isinstance(v, (np.ndarray, np.generic)) and v.dtype.kind in "fc"]
    like = next((v.dtype for v in floating if v.ndim), None)
    if like is None and floating:
        like = np.result_type(*floating)
    real = np.dtype(float) if like is None else like if like.kind == "f" else np.finfo(like).dtype
    out = []
    for i, value in enumerate(values):
        array = _checked(value, names, i)
        kind = array.dtype.kind
        if kind not in "fc" or (like is not None and (array is not value or not array.ndim)):
            array = array.astype(np.result_type(real, 1j) if kind == "c" else real, copy=False)
        out.append(array)
    return out


def _checked(value: Any, names: str, i: int) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:  # ragged sequences
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in ("biuf" if names else "biufc"):
        name = names.split()[i] if names else "argument"
        raise ValueError(f"{name} must be a number or an array of numbers, got {_shown(value)}")
    return array


def require(name: str, value: Any, holds: Any, allowed: str) -> None:
    """Raise ``ValueError`` naming the argument unless `holds` is true everywhere.

    Arrays that are only traced (under ``jit``) have no value to check and pass.
    """
    xp = array_namespace(holds) if is_array_api_obj(holds) else np
    try:
        good = bool(xp.all(holds))
    except Exception as error:  # only a traced array refuses to become a bool
        if "Tracer" in type(error).__name__:
            return
        raise
    if not good:
        raise ValueError(f"{name} must be {allowed}, got {_shown(value)}")


def _shown(value: Any) -> str:
    if getattr(value, "size", 1) == 1 or not hasattr(value, "shape"):
        return repr(value.item()) if hasattr(value, "item") else repr(value)
    array = np.asarray(value)
    if array.ndim > 1:
        return f"an array of shape {array.shape} with " + _shown(array.ravel())
    return np.array2string(array, threshold=8, precision=6, max_line_width=10**6)


def plain(value: Any) -> Any:
    """Turn a zero-dimensional NumPy array into a NumPy scalar; anything else passes."""
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


def number(name: str, value: Any, *, least: float = -np.inf, above: float = -np.inf) -> float:
    """Return `value` as a finite ``float`` >= `least` and > `above`, or raise ``ValueError``."""
    limits = [f">= {least:g}"] * (least > -np.inf) + [f"> {above:g}"] * (above > -np.inf)
    allowed = " ".join(["a finite number", *limits])
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be {allowed}, got {value!r}") from None
    if not (np.isfinite(result) and result >= least and result > above):
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    return result


def natural(name: str, value: Any, least: int = 1) -> int:
    """Return `value` as an ``int``, or raise ``ValueError`` when it is not a whole number >= `least`."""
    allowed = f"{name} must be a whole number >= {least}, got {value!r}"
    if isinstance(value, (bool, np.bool_)):
        raise ValueError(allowed)
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(allowed) from None
    if number < least:
        raise ValueError(allowed)
    return number


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Return `value`, or raise ``ValueError`` when it is not one of the `allowed` names."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return value


def seed_number(seed: Any) -> int:
    """Return `seed` as an ``int``, or raise ``ValueError`` when it is not a whole number >= 0."""
    return natural("seed", seed, least=0)


def seed_numbers(seeds: Any) -> list[int]:
    """Return `seeds` as a list of whole numbers >= 0, or raise ``ValueError``."""
    if not np.iterable(seeds):
        raise ValueError(f"seeds must be several whole numbers >= 0, such as range(5), got {seeds!r}")
    numbers = [natural("seeds", seed, least=0) for seed in seeds]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"seeds must differ from each other, got {numbers}")
    return numbers


def generator(rng: Any) -> np.random.Generator:
    """Return a generator from a ``numpy.random.Generator``, a seed, or None (fresh entropy)."""
    if rng is None or isinstance(rng, np.random.Generator):
        return np.random.default_rng(rng)
    return np.random.default_rng(natural("rng", rng, least=0))
