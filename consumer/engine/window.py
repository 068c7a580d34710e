"""How many keys to save at once while the store throttles some of them."""

from dataclasses import dataclass

MOST = 200
"""Keys saved at once: enough to keep every request slot busy, few enough to notice a failing store soon."""
LEAST = 25
"""One request."""
STEP = 25
"""Keys added after a save of which most succeeded."""


@dataclass(slots=True)
class Window:
    """Halves when more than half of a save failed, and grows by STEP otherwise.

    Random throttling of a few statements is no reason to slow down: only a store at its capacity refuses most of them.
    """

    size: int = MOST
    is_shrinking: bool = False

    def learn(self, saved: int, failed: int) -> None:
        """`failed` of `saved` keys were throttled, or their result is unknown."""
        self.is_shrinking = 2 * failed > saved
        self.size = max(LEAST, self.size // 2) if self.is_shrinking else min(MOST, self.size + STEP)
