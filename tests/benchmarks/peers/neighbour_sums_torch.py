"""Times PyTorch Geometric's SimpleConv on an edge index, for neighbour_sums.py, which starts this script and talks to it.

Reads one request a line, ``{"case": FILE.npz, "rounds": R}``, and answers each by a line with the least milliseconds of a
forward pass and of a forward and backward pass; sums and gradient are written to FILE.npz.answer.npz. The first line that it
writes is its versions.
"""

# pyright: reportMissingImports=false
# These packages are in the peer's environment only.

import json
import sys
import time

import numpy as np
import torch
import torch_geometric
from torch_geometric.nn import SimpleConv


def milliseconds(run) -> float:
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


def answer(case: str, rounds: int) -> dict[str, float]:
    """Times one case."""
    data = np.load(case)
    edge_index = torch.from_numpy(np.stack([data["senders"], data["receivers"]]).astype(np.int64))
    x, c = torch.from_numpy(data["x"]), torch.from_numpy(data["c"])
    conv = SimpleConv(aggr="sum")

    def forward():
        with torch.no_grad():
            return conv(x, edge_index)

    def gradient():
        leaf = x.detach().requires_grad_()
        (conv(leaf, edge_index).square() * c).sum().backward()
        return leaf.grad

    np.savez(f"{case}.answer.npz", sums=forward().numpy(), gradient=gradient().numpy())
    best = {"forward": float("inf"), "gradient": float("inf")}
    for _ in range(rounds):
        for name, run in (("forward", forward), ("gradient", gradient)):
            best[name] = min(best[name], milliseconds(run))
    return best


def main() -> None:
    """Answers requests until the input ends."""
    versions = {
        "torch": torch.__version__,
        "torch_geometric": torch_geometric.__version__,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(versions), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
