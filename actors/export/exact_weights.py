"""The float32 weights that every export has: the forms that hold bare tensors are made of them."""

from pathlib import Path

from actors.errors import ModelError, first_line

_FILE = "model.safetensors"


def exact_weights(output: Path) -> Path:
    """The file with all weights of an exported folder.

    Raises:
        ModelError: it is missing or broken, the weights are cut into several files, or not in float32.
    """
    from safetensors import SafetensorError, safe_open

    file = output / _FILE
    if not file.is_file():
        if (output / f"{_FILE}.index.json").is_file():
            raise ModelError(f"{output}: its weights are cut into several files, and this form is made of one, {_FILE}")
        raise ModelError(f"{output} holds no {_FILE}, of which this form is made; export the model again")
    try:
        with safe_open(file, framework="numpy") as tensors:
            types = {name: tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{file} cannot be read: {first_line(error)}; export the model again") from error
    for name, dtype in types.items():
        # Others than F and BF are integers: positions, which older models kept among their weights.
        if dtype.startswith(("F", "BF")) and dtype != "F32":
            raise ModelError(
                f"{file}: {name} is of the type {dtype}, not F32 as an export has it; export the model again"
            )
    return file
