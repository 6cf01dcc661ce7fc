"""Tests of the tests: with any comparison or limit of the kernel a little different, one of them fails."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
KERNEL = ROOT / "m2cli/visits"
TESTED = ("tests/visits", "tests/properties")

PYTEST = (sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not soak")
ENVIRONMENT = {**os.environ, "PYTHONPATH": "."}

SWAPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
SWAPPED_SIDE = {"left": "right", "right": "left"}
LIMITS = ("inactivity", "max_duration", "max_out_of_orderness", "idle_after")

# Lines in which a change may survive, and why.
EQUIVALENT = {
    'has_tagged = pl.col("tagged_end") > pl.col("first_event")': "the row before is the open visit's own end",
    "visits.filter(pl.col(first) < pl.col(end))": "an empty range explodes into no row",
    "has_rows = count > 0": "a number repeated no times explodes into no row",
    "new = ended.filter(silent > longest).select(*END_SCHEMA)": "W is past both, so it is forgotten at once",
    'if tagged.height != ended["event_count"].sum():': "the other way is slower and finds the same",
    "span = last - first + microseconds(rule.inactivity) + 1": "more room between visitors than there must be",
    "most = _bounds(number)[1] + 1": "the bit to spare has room for one visitor more",
    "dtype = pl.Int64() if (most * span).bit_length() <= _KEY_BITS else pl.Int128()": "both are wide enough",
}


class Mutation(NamedTuple):
    """One node of the kernel, changed."""

    file: str
    line: int
    text: str
    source: str


class Mutator(ast.NodeTransformer):
    """Changes the `nth` of all places that can be changed; counts them in `seen`."""

    def __init__(self, nth: int) -> None:
        self.nth, self.seen, self.line = nth, 0, 0

    def is_it(self, node: ast.expr) -> bool:
        self.seen += 1
        if self.seen - 1 == self.nth:
            self.line = node.lineno
            return True
        return False

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:  # ast's own name, as all below
        """What is said of types changes nothing."""
        if node.value:
            node.value = self.visit(node.value)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.body = [self.visit(statement) for statement in node.body]
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:  # ast's own name
        self.generic_visit(node)
        for place, operator in enumerate(node.ops):
            if type(operator) in SWAPPED and self.is_it(node):
                node.ops[place] = SWAPPED[type(operator)]()
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """`x + 1` and `x - 1` become `x`; `&` becomes `|`, and the other way round."""
        self.generic_visit(node)
        is_one = isinstance(node.right, ast.Constant) and node.right.value == 1
        if is_one and isinstance(node.op, ast.Add | ast.Sub) and self.is_it(node):
            return node.left
        is_type = isinstance(node.right, ast.Constant | ast.Name) or isinstance(node.left, ast.Name)
        if isinstance(node.op, ast.BitAnd) and self.is_it(node):
            node.op = ast.BitOr()
        elif isinstance(node.op, ast.BitOr) and not is_type and self.is_it(node):
            node.op = ast.BitAnd()
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        """The side of a search is the other; a duration of 1 µs is none."""
        self.generic_visit(node)
        if not isinstance(node.value, ast.Constant):
            return node
        if node.arg == "side" and self.is_it(node.value):
            node.value = ast.Constant(SWAPPED_SIDE[node.value.value])
        elif node.arg == "microseconds" and self.is_it(node.value):
            node.value = ast.Constant(0)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """A limit of the rule becomes 1 µs longer."""
        self.generic_visit(node)
        is_limit = isinstance(node.value, ast.Name) and node.value.id == "rule" and node.attr in LIMITS
        if is_limit and self.is_it(node):
            limit = ast.unparse(node)
            return ast.parse(f"({limit} + type({limit})(microseconds=1))", mode="eval").body
        return node


def mutations() -> list[Mutation]:
    found = []
    for path in sorted(KERNEL.glob("*.py")):
        text = path.read_text()
        nth = 0
        while True:
            mutator = Mutator(nth)
            mutated = mutator.visit(ast.parse(text))
            if mutator.seen <= nth:
                break
            line = text.splitlines()[mutator.line - 1].strip()
            found.append(Mutation(path.name, mutator.line, line, ast.unparse(mutated)))
            nth += 1
    return found


def fails(checkout: Path, mutation: Mutation) -> bool:
    """Whether any test fails in a checkout with the mutation."""
    target = checkout / "m2cli/visits" / mutation.file
    original = target.read_text()
    target.write_text(mutation.source)
    try:
        command = [*PYTEST, *TESTED]
        done = subprocess.run(command, cwd=checkout, env=ENVIRONMENT, capture_output=True, check=False)
        return done.returncode == 1
    finally:
        target.write_text(original)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the kernel and its tests need, in which all is well before anything is changed."""
    copy = tmp_path_factory.mktemp("mutations")
    for name in ("m2cli", "tests/visits", "tests/properties", "tests/twins"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "tests/conftest.py", "tests/batches.py"):
        shutil.copy(ROOT / name, copy / name)
    subprocess.run([*PYTEST, *TESTED], cwd=copy, env=ENVIRONMENT, check=True, capture_output=True)
    where = [sys.executable, "-c", "import m2cli.visits; print(m2cli.visits.__file__)"]
    shown = subprocess.run(where, cwd=copy, env=ENVIRONMENT, check=True, capture_output=True, text=True)
    assert (copy / shown.stdout.strip()).resolve().is_relative_to(copy.resolve())
    return copy


@pytest.mark.soak
@pytest.mark.parametrize("mutation", mutations(), ids=lambda mutation: f"{mutation.file}:{mutation.line}")
def test_a_test_fails_wherever_the_kernel_is_a_little_different(checkout: Path, mutation: Mutation) -> None:
    reason = EQUIVALENT.get((mutation.file, mutation.text))
    if reason:
        pytest.skip(reason)
    assert fails(checkout, mutation), f"no test fails with a change in line {mutation.text}"
