"""A program: loads the handler of a bundle as huggingface-inference-toolkit does, and has it answer.

    python trial.py FOLDER < REQUESTS > REPLIES

Requests are lines of JSON. The replies are a line each, {"reply": ...} or {"error": "..."}, behind a first line for the
handler itself. It imports nothing of Spanmill: what the handler needs has to come with the bundle.
"""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_OURS = ("actors", "pipelines", "spanmill", "ray")


def main() -> None:
    """Answers the lines of stdin; the exit code is 1 where there is no handler."""
    folder = sys.argv[1]
    try:
        handler = _handler(folder)
    except Exception as error:
        _print({"error": f"{error}" or type(error).__name__})
        sys.exit(1)
    _print({"reply": "ready"})
    for request in sys.stdin:
        _print(_answer(handler, request))


def _answer(handler: Callable[[object], object], request: str) -> dict[str, object]:
    try:
        return {"reply": handler(json.loads(request))}
    except Exception as error:  # as the toolkit does, which shows the message of any
        return {"error": f"{error}" or type(error).__name__}


def _print(line: dict[str, object]) -> None:
    print(json.dumps(line), flush=True)


def _handler(folder: str) -> Any:
    """As `check_and_register_custom_pipeline_from_directory` of huggingface-inference-toolkit 0.5.6 does."""
    spec = importlib.util.spec_from_file_location("handler.EndpointHandler", Path(folder) / "handler.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder}/handler.py is no module")
    sys.path.insert(0, folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules["handler.EndpointHandler"] = module
    spec.loader.exec_module(module)
    handler = module.EndpointHandler(folder)
    strays = [name for name, file in _loaded() if not Path(file).resolve().is_relative_to(Path(folder).resolve())]
    if strays:
        raise ImportError(f"{', '.join(sorted(strays)[:4])} came from elsewhere, and the bundle lacks it")
    return handler


def _loaded() -> list[tuple[str, str]]:
    """Names and files of the modules that must come with a bundle, or must not come at all."""
    found = ((name, getattr(module, "__file__", None)) for name, module in list(sys.modules.items()))
    return [(name, file) for name, file in found if file and name.partition(".")[0] in _OURS]


if __name__ == "__main__":
    main()
