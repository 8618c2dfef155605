from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

_Error = TypeVar("_Error", bound=BaseException)
_P = ParamSpec("_P")

def raises(
    error: type[_Error], call: Callable[_P, object], *args: _P.args, **kwargs: _P.kwargs
) -> _Error: ...
def vectors(name: str) -> Any: ...  # whatever the JSON file holds; each test uses its own
