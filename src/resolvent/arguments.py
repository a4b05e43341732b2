"""What a caller may pass: array namespaces, and numbers checked once at the boundary.

Every check names the argument, the value it got and what is allowed.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj

__all__ = ["arrays", "generator", "natural", "one_of", "plain", "require", "seed_number"]


def arrays(*values: Any) -> tuple[Any, ...]:
    """Return ``(xp, *values)``: the common array namespace and the values as floating arrays in it.

    Array-API arrays (PyTorch, JAX, CuPy, ...) keep their namespace, device and floating type;
    Python numbers and sequences follow them, and become NumPy float64 where there is none to follow.
    """
    given = [v for v in values if is_array_api_obj(v) and not isinstance(v, np.generic)]
    if not given:
        return (array_namespace(np.empty(0)), *(_numpy(v) for v in values))
    xp = array_namespace(*given)
    like = next((v for v in given if not xp.isdtype(v.dtype, "integral")), None)
    dtype = xp.float64 if like is None else like.dtype
    if xp.isdtype(dtype, "complex floating"):
        dtype = xp.float64 if dtype == xp.complex128 else xp.float32
    where = device(given[0])
    out = []
    for value in values:
        if not is_array_api_obj(value) or isinstance(value, np.generic):
            is_complex = np.asarray(value).dtype.kind == "c"
            target = {xp.float32: xp.complex64}.get(dtype, xp.complex128) if is_complex else dtype
            value = xp.asarray(value, dtype=target, device=where)
        elif not xp.isdtype(value.dtype, ("real floating", "complex floating")):
            value = xp.astype(value, dtype)
        out.append(value)
    return (xp, *out)


def _numpy(value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise ValueError(f"expected numbers, got {value!r}")
    return array if array.dtype.kind in "fc" else array.astype(float)


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
    return np.array2string(np.asarray(value), threshold=8, precision=6)


def plain(value: Any) -> Any:
    """Turn a zero-dimensional NumPy array into a NumPy scalar; anything else passes."""
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


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


def generator(rng: Any) -> np.random.Generator:
    """Return a generator from a ``numpy.random.Generator``, a seed, or None (fresh entropy)."""
    if rng is None or isinstance(rng, np.random.Generator):
        return np.random.default_rng(rng)
    return np.random.default_rng(natural("rng", rng, least=0))
