"""Times networks and layers of escnn, in the peer's interpreter, for the process that starts it.

Reads one request a line and answers each by a line: ``{"build": CASE}`` makes a network or a layer and its arrays,
``{"run": MODE, "count": N}`` runs it once untimed and N times. The first line that it writes is its versions.
With ``--construct CASE`` it makes one network, prints the seconds and ends.
"""

# pyright: reportMissingImports=false
# These packages are in the peer's environment only.

import json
import os
import platform
import sys
import time
from collections.abc import Callable

import escnn
import numpy as np
import scipy
import torch
from networks_torch import CLASSES, Layer, Network


def versions() -> dict:
    """What runs here, and how."""
    own = {"python": platform.python_version(), "torch": torch.__version__, "escnn": escnn.__version__}
    own |= {"numpy": np.__version__, "scipy": scipy.__version__, "threads": torch.get_num_threads()}
    return own | {name: os.environ.get(name, "") for name in ("GLIBC_TUNABLES", "OMP_WAIT_POLICY")}


def made(case: dict) -> torch.nn.Module:
    """The network or the layer of a case."""
    if "widths" in case:
        return Network(case["group"], case["widths"], case["kernel"])
    return Layer(case["group"], case["features"], case["kernel"])


def network_runs(case: dict, model: torch.nn.Module) -> dict[str, Callable]:
    """The training step and the evaluation."""
    random = np.random.default_rng(0)
    shape = (case["batch"], 1, case["size"], case["size"])
    x = torch.from_numpy(random.normal(size=shape).astype(np.float32))
    labels = torch.from_numpy(random.integers(0, CLASSES, case["batch"]))
    adam = torch.optim.Adam(model.parameters(), 1e-3)

    def train() -> torch.Tensor:
        adam.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        adam.step()
        return loss.detach()

    return {"train": train, "eval": torch.inference_mode()(lambda: model(x))}


def layer_runs(case: dict, model: torch.nn.Module) -> dict[str, Callable]:
    """The forward pass, and a sum of squares with its gradients in the input and the parameters."""
    shape = (case["batch"], model.type.size, case["size"], case["size"])
    x = torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    leaf = x.clone().requires_grad_()

    def gradient() -> torch.Tensor:
        leaf.grad = None
        model.zero_grad()
        loss = model(leaf).square().sum()
        loss.backward()
        return loss.detach()

    return {"forward": torch.inference_mode()(lambda: model(x)), "gradient": gradient}


class Session:
    """Holds the model that was built last."""

    def build(self, case: dict) -> dict:
        """Makes a model and its arrays."""
        self.model = made(case)
        self.runs = (network_runs if "widths" in case else layer_runs)(case, self.model)
        return {"parameters": sum(p.numel() for p in self.model.parameters())}

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
        start = time.perf_counter()
        made(case)
        print(json.dumps(time.perf_counter() - start))
        return
    print(json.dumps(versions()), flush=True)
    session = Session()
    for line in sys.stdin:
        request = json.loads(line)
        answer = session.build(request["build"]) if "build" in request else session.run(request["run"], request["count"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
