"""When a server looks for garbage: not for each few hundred objects, and never in what is there from the start.

Nearly everything here is freed by its reference count. As Python comes, a thousand people who connect make it walk the
whole heap several times, 60 to 100 ms each, in which nobody is answered, and a fifth of all CPU.
"""

import gc

# Container objects more than before that make it look at the youngest; how often that, until it looks at those that
# survived it; how often those, until it looks at all (and then only if a quarter more have come).
THRESHOLDS = (5_000, 5, 10)


def settle_in() -> None:
    """The server is up: all modules and tables are there."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
