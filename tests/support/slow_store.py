"""A store that answers late: each read lets others run before and after it, as one over a network would."""

import asyncio
from typing import Any

from tripoint.store.memory import MemoryStore


class SlowStore(MemoryStore):
    """The store in memory, whose reads take turns of the loop. `turns` may be changed at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = 1

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith("load_"):
            return found

        async def slow(*args: Any, **named: Any) -> Any:
            for _ in range(self.turns):
                await asyncio.sleep(0)
            answer = await found(*args, **named)
            for _ in range(self.turns):
                await asyncio.sleep(0)
            return answer

        return slow
