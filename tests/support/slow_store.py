"""A store that answers late: each read lets others run before and after it, as one over a network would."""

import asyncio
from typing import Any

from tripoint.store.memory import MemoryStore


class SlowStore(MemoryStore):
    """The store in memory, whose reads take `before` turns of the loop to arrive and `after` to come back."""

    def __init__(self) -> None:
        super().__init__()
        self.before = self.after = 1

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not name.startswith("load_"):
            return found

        async def slow(*args: Any, **named: Any) -> Any:
            for _ in range(self.before):
                await asyncio.sleep(0)
            answer = await found(*args, **named)
            for _ in range(self.after):
                await asyncio.sleep(0)
            return answer

        return slow
