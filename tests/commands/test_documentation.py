"""The examples of docs/commands.md, run one after another."""

import re
import shlex
from pathlib import Path

from django_counter.management.commands.counter import VERBS
from django_counter.testing import override_counters
from tests.commands.runs import call
from tests.test_docs import blocks

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def test_each_command_prints_what_the_page_says() -> None:
    text = PAGE.read_text("utf-8")
    examples = "".join(block.code for block in blocks(text) if block.language == "console")
    commands = re.findall(r"^\$ counter (.*)\n((?:(?!\$ ).*\n)*)", examples, re.M)
    assert len(commands) > 5
    with override_counters() as clock:
        clock.seconds = 1_800_000_000.0  # in the middle of a window
        for command, output in commands:
            run = call(*shlex.split(command))
            assert (run.code, run.out) == (0, output), command


def test_the_index_of_recipes_names_verbs_that_there_are() -> None:
    named = set(re.findall(r"`counter (\w+)", PAGE.read_text("utf-8")))
    assert named <= VERBS.keys()
