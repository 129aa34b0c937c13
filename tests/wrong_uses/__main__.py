"""Prints what came of each wrong use: ``python -m tests.wrong_uses [family …] [--all]``."""

import collections
import sys
import time

import jax

from tests.wrong_uses.run import FAMILIES, run

if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    chosen = [a for a in sys.argv[1:] if not a.startswith("-")] or list(FAMILIES)
    total = collections.Counter()
    for family in chosen:
        start = time.process_time()
        found = list(run(family))
        counts = collections.Counter(outcome.kind for outcome in found)
        total += counts
        for outcome in found:
            if outcome.is_fault:
                print(f"{outcome.kind:9} {outcome.use}({outcome.argument}={outcome.replacement}): {outcome.what}")
        print(f"{family:10} tried {len(found):5}  {dict(counts)}  {time.process_time() - start:.1f} s")
    print(f"{'all':10} tried {sum(total.values()):5}  {dict(total)}")
