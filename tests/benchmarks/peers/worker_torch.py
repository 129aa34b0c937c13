"""Times networks and layers of escnn, PyTorch and PyTorch Geometric, for the process that starts it.

Reads one request a line and answers each by a line: ``{"build": CASE, "data": FILE}`` makes a network or a layer and its
arrays, those of the file where there is one; ``{"run": MODE, "count": N}`` runs it once untimed and N times;
``{"results": FILE}`` writes output and gradients. The first line that it writes is its versions.
With ``--construct CASE`` it makes one network, prints the seconds and ends.
"""

# pyright: reportMissingImports=false
# These packages are in the peer's environment only.

import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from types import ModuleType

import numpy as np
import torch

FILES = {"sets": "sets_torch", "messages": "messages_torch"}  # all others: networks_torch


def versions() -> dict:
    """What runs here, and how."""
    own = {"python": platform.python_version(), "torch": torch.__version__}
    own |= {name: version(name) for name in ("escnn", "torch_geometric", "numpy", "scipy")}
    own |= {"threads": torch.get_num_threads()}
    return own | {name: os.environ.get(name, "") for name in ("GLIBC_TUNABLES", "OMP_WAIT_POLICY")}


def home_of(case: dict) -> ModuleType:
    """The file of a case, and no other, is imported."""
    return importlib.import_module(FILES.get(case["family"], "networks_torch"))


def made(case: dict) -> torch.nn.Module:
    """The network or the layer of a case."""
    if "widths" in case:
        return home_of(case).Network(case["group"], case["widths"], case["kernel"])
    return home_of(case).Layer(case)


def network_runs(case: dict, model: torch.nn.Module) -> dict[str, Callable]:
    """The training step and the evaluation."""
    random = np.random.default_rng(0)
    shape = (case["batch"], 1, case["size"], case["size"])
    x = torch.from_numpy(random.normal(size=shape).astype(np.float32))
    labels = torch.from_numpy(random.integers(0, model.head.out_features, case["batch"]))
    adam = torch.optim.Adam(model.parameters(), 1e-3)

    def train() -> torch.Tensor:
        adam.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        adam.step()
        return loss.detach()

    evaluate = torch.inference_mode()(lambda: model(x))
    return {"train": train, "eval": evaluate, "frozen": evaluate}


def layer_inputs(case: dict, model: torch.nn.Module, data: str | None) -> list[torch.Tensor]:
    """The inputs of a layer, from the file of arrays, whose weights the layer gets; else noise."""
    if data is None:
        shape = (case["batch"], model.type.size, case["size"], case["size"])
        return [torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype(np.float32))]
    arrays = {name: torch.from_numpy(array) for name, array in np.load(data).items()}
    with torch.no_grad():
        for name, path in model.parts.items():
            model.get_parameter(path).copy_(transposed(arrays[name]))
    return home_of(case).inputs(arrays)


def transposed(weight: torch.Tensor) -> torch.Tensor:
    """A matrix of JAX, which multiplies from the right, as one of PyTorch, and back."""
    return weight.T if weight.ndim == 2 else weight


def layer_runs(model: torch.nn.Module, inputs: list[torch.Tensor]) -> dict[str, Callable]:
    """The forward pass, and a sum of squares with its gradients in the first input and the parameters."""
    leaf = inputs[0].clone().requires_grad_()

    def gradient() -> torch.Tensor:
        leaf.grad = None
        model.zero_grad()
        loss = model(leaf, *inputs[1:]).square().sum()
        loss.backward()
        return loss.detach()

    def results() -> dict[str, np.ndarray]:
        gradient()
        found = {"output": model(*inputs).detach(), "x": leaf.grad}
        found |= {name: transposed(model.get_parameter(path).grad) for name, path in model.parts.items()}
        return {name: tensor.numpy() for name, tensor in found.items()}

    return {"forward": torch.inference_mode()(lambda: model(*inputs)), "gradient": gradient, "results": results}


class Session:
    """Holds the model that was built last."""

    def answer(self, request: dict) -> dict:
        """Does what a request asks for."""
        if "build" in request:
            return self.build(request["build"], request["data"])
        return self.results(request["results"]) if "results" in request else self.run(request["run"], request["count"])

    def build(self, case: dict, data: str | None) -> dict:
        """Makes a model and its arrays."""
        self.model = made(case)
        if "widths" in case:
            self.runs = network_runs(case, self.model)
        else:
            self.runs = layer_runs(self.model, layer_inputs(case, self.model, data))
        return {"parameters": sum(p.numel() for p in self.model.parameters())}

    def results(self, file: str) -> dict:
        """Writes what the layer computes; the names of weights are those of their gradients."""
        np.savez(file, **self.runs["results"]())
        return {}

    def run(self, mode: str, count: int) -> dict:
        """Times a mode; filters are cached in evaluation, as ``eval()`` does in escnn."""
        self.model.train(mode in ("train", "gradient"))
        times, value = [], torch.zeros(1, 1)
        for _ in range(count + 1):
            start = time.perf_counter()
            value = self.runs[mode]()
            times.append(1e3 * (time.perf_counter() - start))
        return {"ms": times[1:], "value": value.item() if value.ndim == 0 else None}


def main() -> None:
    """Answers requests until the input ends."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    if "--construct" in sys.argv:
        case = json.loads(sys.argv[-1])
        home_of(case)  # imports are not counted
        start = time.perf_counter()
        made(case)
        print(json.dumps(time.perf_counter() - start))
        return
    print(json.dumps(versions()), flush=True)
    session = Session()
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(session.answer(request)), flush=True)


if __name__ == "__main__":
    main()
