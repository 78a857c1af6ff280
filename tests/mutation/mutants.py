"""Makes mutants: the engine's modules with one small mistake each, by Cosmic Ray's operators and one more."""

import difflib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cosmic_ray.ast import ast_nodes  # pyright: ignore[reportMissingImports]  # requirements.in
from cosmic_ray.mutating import mutate_code  # pyright: ignore[reportMissingImports]  # requirements.in
from cosmic_ray.operators.provider import OperatorProvider  # pyright: ignore[reportMissingImports]  # requirements.in
from parso import parse  # pyright: ignore[reportMissingImports]  # requirements.in
from parso.python.tree import Keyword  # pyright: ignore[reportMissingImports]  # requirements.in
from parso.tree import search_ancestor  # pyright: ignore[reportMissingImports]  # requirements.in

from tests.mutation.targets import source_of

OPERATORS = re.compile(
    r"ReplaceBinaryOperator_(Add|Sub|Mul|Div)_(Add|Sub|Mul|Div)"
    r"|ReplaceComparisonOperator_(Eq|NotEq|Lt|LtE|Gt|GtE)_(Eq|NotEq|Lt|LtE|Gt|GtE)"
    r"|ReplaceUnaryOperator_.*|AddNot|ReplaceAndWithOr|ReplaceOrWithAnd|ReplaceTrueWithFalse|ReplaceFalseWithTrue"
    r"|ReplaceBreakWithContinue|ReplaceContinueWithBreak|NumberReplacer|ExceptionReplacer|ZeroIterationForLoop"
)
"""The others put a bit operation on floats, and all die, or take a compiler's decorator away, and all live."""

ONLY_COMPILED = ("fingerprint", "hash_parts", "inlined", "called", "_read_only", "SIGNATURE", "advance", "njit")
"""Functions and module-level names that mean something to numba's compiler only, which a campaign does without."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an operator applies: for the occurrence-th time, on a line of the module as it is."""

    module: str
    operator: str
    occurrence: int
    line: int


@dataclass(frozen=True, slots=True)
class Mutant:
    """source: of the whole module, mutated. change: the lines that differ, as in a diff."""

    place: Place
    source: str
    change: str


def places(module: str) -> list[Place]:
    """Return every place of a module where an operator applies, always in the same order."""
    tree = parse(source_of(module))
    found: list[Place] = []
    for name, operator in operators().items():
        positions = [(node, start) for node in ast_nodes(tree) for start, _ in operator.mutation_positions(node)]
        found += [
            Place(module, name, occurrence, start[0])
            for occurrence, (node, start) in enumerate(positions)
            if not _is_only_compiled(node)
        ]
    return found


def sample_of(all_places: list[Place], size: int, seed: int) -> list[Place]:
    """Return a random part of them, in their order; all when there are no more than size."""
    if len(all_places) <= size:
        return all_places
    numbers = sorted(random.Random(seed).sample(range(len(all_places)), size))
    return [all_places[number] for number in numbers]


def mutate(place: Place) -> Mutant | None:
    """Return the mutant of a place, None where the operator changes nothing there or makes what is no Python."""
    source = source_of(place.module)
    mutated = mutate_code(source, operators()[place.operator], place.occurrence)
    if mutated is None or mutated == source:
        return None
    try:
        compile(mutated, place.module, "exec")
    except SyntaxError:
        return None
    return Mutant(place, mutated, _change(source, mutated))


def operators() -> dict[str, Any]:
    """Return an object of each operator by name, each with mutation_positions and mutate."""
    provider = OperatorProvider()
    taken = {name: provider[name]() for name in sorted(provider) if OPERATORS.fullmatch(name)}
    return {**taken, "StatementRemover": StatementRemover()}


class StatementRemover:
    """Takes out one assignment, call or bare return; Cosmic Ray has no such operator."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        in_function = search_ancestor(node, "funcdef") is not None
        if in_function and node.parent is not None and node.parent.type == "simple_stmt":
            bare_return = node.type == "keyword" and node.value == "return"
            if node.type in ("expr_stmt", "atom_expr") or bare_return:
                yield node.start_pos, node.end_pos

    def mutate(self, node: Any, _index: int) -> Any:
        return Keyword("pass", node.start_pos, prefix=node.get_first_leaf().prefix)


def _is_only_compiled(node: Any) -> bool:
    while node.parent is not None:
        if node.type == "funcdef" and node.name.value in ONLY_COMPILED and node.parent.type != "suite":
            return True
        of_module = node.parent.type == "simple_stmt" and node.parent.parent.type == "file_input"
        if of_module and node.get_first_leaf().value in ONLY_COMPILED:
            return True
        node = node.parent
    return False


def _change(source: str, mutated: str) -> str:
    lines = difflib.unified_diff(source.splitlines(), mutated.splitlines(), lineterm="", n=0)
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))
