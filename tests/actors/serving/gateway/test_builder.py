"""What a gateway's process loads; tests/pipelines/cli/commands/test_serve.py looks at those of a running service."""

import subprocess
import sys


def test_neither_a_gateway_nor_what_deploys_it_loads_what_models_take() -> None:
    heavy = ("torch", "transformers", "ray.data", "aiohttp", "huggingface_hub.hf_api")
    show = f"print([name for name in {heavy} if name in sys.modules])"
    loaded = f"import sys, actors.serving.gateway.builder, actors.serving.deployments; {show}"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
