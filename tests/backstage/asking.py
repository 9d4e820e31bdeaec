"""Asking the same questions over and over while something else happens."""

import http.client
import threading
from typing import List, NamedTuple

from stack import CheckError, Stack, until


class Question(NamedTuple):
    person: str
    token: str
    host: str
    # What must come back, each time.
    status: int


class Asking:
    """Asks in a thread of its own until left, and remembers what was wrong."""

    def __init__(self, stack: Stack, questions: List[Question]) -> None:
        self.stack = stack
        self.questions = questions
        self.count = 0
        # Answers by Envoy alone: Stagedoor was not asked, or not in time.
        self.unanswered = 0
        self.done = 0
        self.found: List[str] = []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.ask, daemon=True)

    def __enter__(self) -> "Asking":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join(60)

    def rounds(self, more: int) -> None:
        """Waits until everything was asked so many times more."""
        goal = self.done + more
        until("all questions were asked", lambda: self.done >= goal or not self.thread.is_alive())

    def wrong(self) -> List[str]:
        if self.done == 0 or self.thread.is_alive():
            raise CheckError("the questions were not asked")
        return self.found

    def ask(self) -> None:
        while not self.stopped.is_set():
            for question in self.questions:
                self.one(question)
            self.done += 1

    def one(self, question: Question) -> None:
        self.count += 1
        try:
            answer = self.stack.ask(question.token, question.host)
        except (OSError, http.client.HTTPException) as error:
            self.found.append(f"{question.person} asks for {question.host}: {error}")
            return
        if answer.status == question.status:
            return
        reason = answer.json().get("reason")
        if answer.status == 503 and reason is None:
            self.unanswered += 1
            return
        self.found.append(
            f"{question.person} asks for {question.host}: expected {question.status}, "
            f"got {answer.status} {reason}"
        )
