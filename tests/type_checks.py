"""Types and sizes of arrays are checked in each call of the package, as by jaxtyping and in less time.

`jaxtyping.jaxtyped` checks the arguments before a call and once more with the result, and binds them to their names for
its messages. That takes 11 to 26 microseconds a call, more than the work of many small functions. The same checks by
beartype alone take 2 to 13.
"""

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import is_dataclass
from inspect import isgeneratorfunction
from types import CodeType, FunctionType
from typing import Any

from beartype import BeartypeConf, beartype
from jaxtyping import TypeCheckError, jaxtyped

_CONF = BeartypeConf(violation_type=TypeCheckError)
MOST_MADE = 50
"""A function within another is made anew and decorated in each call, which takes two milliseconds. This many are."""
_made: Counter[CodeType] = Counter()
_SIZES: Any = jaxtyped("context")
"""Within it, axes of the same name must have the same size. It keeps no state, so that calls may be nested."""


def checked(function: Any = None, *, typechecker: Callable[..., Any]) -> Any:
    """Decorate a function or class of the package, in place of `jaxtyping.jaxtyped`.

    Args:
        function: What is decorated. Of a class that is a dataclass, the arguments of its `__init__` are checked.
        typechecker: That of the import hook, which is beartype.
    """
    if function is None:
        return functools.partial(checked, typechecker=typechecker)
    if isinstance(function, FunctionType) and "<locals>" in function.__qualname__:
        _made[function.__code__] += 1
        if _made[function.__code__] > MOST_MADE:
            return function
    if isinstance(function, type):
        if is_dataclass(function) and "__init__" in vars(function):
            function.__init__ = _with_sizes(function.__init__)
        return function
    return jaxtyped(function, typechecker=typechecker) if _needs_jaxtyping(function) else _with_sizes(function)


def _needs_jaxtyping(function: Callable[..., Any]) -> bool:
    """Whether beartype alone would check less, later or in another way."""
    # beartype checks the arguments of a generator when its first value is asked for. Only jaxtyping compares the size
    # of an axis with an argument, as in "{num_joints} 3", and passes over names in quotes that are not defined.
    hints = function.__annotations__.values()
    return isgeneratorfunction(function) or any(
        isinstance(hint, str) or "{" in repr(hint) or "ForwardRef" in repr(hint) for hint in hints
    )


def _with_sizes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check arguments and result of each call. The sizes of axes are those of the call."""
    body = beartype(function, conf=_CONF)
    if body is function:
        return function  # nothing is annotated

    @functools.wraps(function)
    def with_sizes(*args: Any, **kwargs: Any) -> Any:
        with _SIZES:
            return body(*args, **kwargs)

    return with_sizes
