"""A provider of language models with moods, whose answers depend on what is asked alone: right ones, and some that are
none and are asked for again.
"""

import hashlib
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from consumer.ports.advice import CallSettings
from consumer.rules.budget import question_key
from tests.support.scripted_model import Received, Says, ScriptedModel

MODEL = "openai:scripted"
SETTINGS = CallSettings(max_tokens=1000, temperature=0.0)
"""The defaults, by which keys are made."""
ASKED_AGAIN = 4
"""Messages of a question that is asked for the second time."""
Mood = Literal["well", "slow", "away", "busy"]


@dataclass(slots=True)
class MoodyModel:
    """Open it as a context."""

    server: ScriptedModel = field(default_factory=ScriptedModel)
    mood: Mood = "well"
    calls: Counter[str] = field(default_factory=Counter)
    """Received so far, by question."""
    hold: threading.Event = field(default_factory=threading.Event)
    """Slow answers wait for it."""

    def __post_init__(self) -> None:
        self.hold.set()
        self.server.script = self.say

    def be(self, mood: Mood) -> None:
        self.mood = mood
        if mood == "slow":
            self.hold.clear()
        else:
            self.hold.set()

    def say(self, received: Received) -> Says:
        messages = tuple((each["role"], each["content"]) for each in received.body["messages"])
        self.calls[question_key(MODEL, SETTINGS, messages)] += 1
        match self.mood:
            case "away":
                return Says(status=500) if received.number % 2 else Says(cuts=True)
            case "busy":
                return Says(status=429, headers={"Retry-After": "1"})
            case "slow":
                return Says(self._answer(received), after=self.hold)
            case "well":
                return Says(self._answer(received))

    def _answer(self, received: Received) -> str | dict[str, object]:
        chance = hashlib.sha256(received.prompt.encode()).digest()[0]
        if chance % 4 == 0 and len(received.body["messages"]) < ASKED_AGAIN:
            return "I would rather not say."
        return {"action": ("BUY", "SELL", "CLOSE", "HOLD")[chance % 4], "confidence": 0.7, "reason": "by chance"}
