"""What environment variables say of a service: containers are told by them where their model is and where to listen.

They are asked where neither an option nor the config file says it. Hosts of containers each have their own:

* Inference Endpoints of Hugging Face mount the model at /repository, and send requests to the port, and probes to the
  route, that the endpoint's owner names; the owner sets variables as well.
* SageMaker unpacks the model to /opt/ml/model and asks on port 8080, or on that in SAGEMAKER_BIND_TO_PORT where several
  containers share an endpoint ("Custom Inference Code with Hosting Services" in its developer guide).
* Others name the port in PORT.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from pipelines.errors import ConfigError

MODEL, MODEL_FOLDERS = "SPANMILL_MODEL", "SPANMILL_MODEL_FOLDERS"
HOST, HEALTH_ROUTE = "SPANMILL_HOST", "SPANMILL_HEALTH_ROUTE"
PORTS = ("SPANMILL_PORT", "SAGEMAKER_BIND_TO_PORT", "PORT")
"""The first that is set counts."""
OPEN = "SPANMILL_OPEN"
"""1 lets anybody ask where no keys are set: for containers whose host checks who asks before they do."""
_LARGEST_PORT = 65_535


def service_settings(environ: Mapping[str, str]) -> dict[str, object]:
    """Values by dotted key of `ServeConfig`, of what the variables say; a variable that is empty says nothing.

    Raises:
        ConfigError: the value of a variable cannot be used.
    """
    said = {
        "model.name": environ.get(MODEL) or _first_model(environ.get(MODEL_FOLDERS, "")),
        "http.host": environ.get(HOST),
        "http.port": _port(environ),
        "gateway.health_route": environ.get(HEALTH_ROUTE),
    }
    return {key: value for key, value in said.items() if value}


def is_open(environ: Mapping[str, str]) -> bool:
    """Whether the environment says that anybody may ask.

    Raises:
        ConfigError: it says neither yes nor no.
    """
    value = environ.get(OPEN, "")
    if value not in ("", "0", "1"):
        raise ConfigError(f"{OPEN}: {value!r} is neither 1, which lets anybody ask, nor 0; set it to one of them")
    return value == "1"


def _first_model(folders: str) -> str | None:
    """The first of the folders that holds anything; what is wrong with it is said when it is loaded.

    A host may make a folder that it has nothing to put into. One that holds something else than a model is no reason
    to serve another model without a word.
    """
    return next((folder for folder in folders.split(os.pathsep) if folder and _holds_anything(folder)), None)


def _holds_anything(folder: str) -> bool:
    try:
        return any(Path(folder).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ConfigError(
            f"{MODEL_FOLDERS}: {folder} cannot be read: {error.strerror}; let the user that runs this read it"
        ) from error


def _port(environ: Mapping[str, str]) -> int | None:
    name = next((name for name in PORTS if environ.get(name)), None)
    if name is None:
        return None
    value = environ[name]
    if not (value.isascii() and value.isdigit() and len(value) <= 5 and 0 < int(value) <= _LARGEST_PORT):
        raise ConfigError(f"{name}: {value!r} is no port; set it to a number from 1 to {_LARGEST_PORT}")
    return int(value)
