"""Times PyTorch Geometric's SimpleConv on an edge index, for neighbour_sums.py, which starts this script and talks to it.

Reads one request a line, ``{"edges": FILE.npz, "features": F, "rounds": R}``, and answers each by a line with the least
milliseconds of a forward pass and of a forward and backward pass. The first line that it writes is its versions.
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


def answer(edges: str, features: int, rounds: int) -> dict[str, float]:
    """Times one case."""
    data = np.load(edges)
    edge_index = torch.from_numpy(np.stack([data["senders"], data["receivers"]]).astype(np.int64))
    generator = torch.Generator().manual_seed(0)
    x, c = (torch.randn(int(data["nodes"]), features, generator=generator) for _ in range(2))
    conv = SimpleConv(aggr="sum")

    def forward():
        with torch.no_grad():
            conv(x, edge_index)

    def gradient():
        leaf = x.detach().requires_grad_()
        (conv(leaf, edge_index).square() * c).sum().backward()

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
