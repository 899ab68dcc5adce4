"""Conditions in specs, such as ``beta1 < beta2``: parsed into a tree of our own and computed from it.

The text is only ever looked at: ``ast.parse`` reads it, a short list of its node types is translated, everything else
is refused, and nothing is compiled or run. All numbers are floats, so that no power or product can grow without end.
"""

import ast
import difflib
import math
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from study.axis import Value

#: What a part of an expression is: found before anything is computed, so that no text is compared with a number.
Kind = Literal["number", "text", "truth value"]

MAX_CHARACTERS = 500
#: Of operations inside each other.
MAX_DEPTH = 24

_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
}
_ORDER: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "log10": math.log10,
    "log": math.log,
    "exp": math.exp,
    "abs": abs,
    "min": min,
    "max": max,
}
#: Functions of several numbers; all others have one.
_VARIADIC = frozenset({"min", "max"})
_TRUTH = {"true": True, "false": False}
_ALLOWED = (
    "allowed: numbers, text in quotes, true, false, names, + - * / **, == != < <= > >=, in [...], and, or, not, "
    f"parentheses, {', '.join(_FUNCTIONS)}"
)


class _Node(Protocol):
    """A part of an expression."""

    def compute(self, values: Mapping[str, Value]) -> Value: ...


@dataclass(frozen=True, slots=True)
class _Constant:
    value: Value

    def compute(self, values: Mapping[str, Value]) -> Value:  # noqa: ARG002 - every node is told
        return self.value


@dataclass(frozen=True, slots=True)
class _Name:
    name: str

    def compute(self, values: Mapping[str, Value]) -> Value:
        return values[self.name]


@dataclass(frozen=True, slots=True)
class _Call:
    function: Callable[..., Value]
    operands: tuple[_Node, ...]

    def compute(self, values: Mapping[str, Value]) -> Value:
        result = self.function(*(operand.compute(values) for operand in self.operands))
        if isinstance(result, float) and not math.isfinite(result):
            raise ArithmeticError("not a finite number")
        return result


@dataclass(frozen=True, slots=True)
class _Junction:
    """``and``, ``or``: what comes after the deciding part is not computed."""

    decided_by: bool
    operands: tuple[_Node, ...]

    def compute(self, values: Mapping[str, Value]) -> Value:
        for operand in self.operands:
            if operand.compute(values) is self.decided_by:
                return self.decided_by
        return not self.decided_by


@dataclass(frozen=True, slots=True)
class Expression:
    """A condition that was read.

    Attributes:
        text: As it stands in the spec.
        names: Whose values it looks at.
    """

    text: str
    names: frozenset[str]
    _root: _Node

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Whether the condition is met.

        It is not where it has no value: a division by zero, the logarithm of 0, a number beyond floats, or a name that
        ``values`` lacks.
        """
        try:
            return self._root.compute(values) is True
        except (ArithmeticError, ValueError, KeyError):  # math functions raise ValueError outside their domain
            return False


def parse_expression(text: str, kinds: Mapping[str, Kind]) -> Expression:
    """Read a condition.

    Args:
        text: Such as ``beta1 < beta2 and lr <= 0.1``.
        kinds: The names that it may use, and what each is.

    Raises:
        ValueError: It is no condition in these names; says where, what is allowed, and which name is near.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{text[:40]!r}... has {len(text)} characters; at most {MAX_CHARACTERS} are allowed")
    reader = _Reader(text, kinds)
    root = reader.read(_parse(text), "truth value", depth=0)
    return Expression(text, frozenset(reader.names), root)


def _parse(text: str) -> ast.expr:
    if not (text.isascii() and text.isprintable()) or "\\" in text:
        raise ValueError(f"{text!r} has characters that are not allowed: write it in one line of plain ASCII")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as `1and 2`: to be refused, not to be told on the side
        try:
            return ast.parse(text.strip(), mode="eval").body
        except SyntaxError as error:
            where = f" at character {error.offset}" if error.offset else ""
            raise ValueError(f"{text!r} cannot be read{where}: {error.msg}; {_ALLOWED}") from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise ValueError(f"{text!r} cannot be read: {error}; {_ALLOWED}") from error


class _Reader:
    """Translates Python's tree into ours, node type by node type."""

    def __init__(self, text: str, kinds: Mapping[str, Kind]) -> None:
        self._text = text
        self._kinds = kinds
        self.names: set[str] = set()

    def read(self, node: ast.expr, kind: Kind, *, depth: int) -> _Node:
        """The translation of ``node``, which must be of ``kind``."""
        translated, found = self._translate(node, depth)
        if found != kind:
            raise self._error(node, f"is a {found}, where a {kind} is needed")
        return translated

    def _translate(self, node: ast.expr, depth: int) -> tuple[_Node, Kind]:
        if depth > MAX_DEPTH:
            raise self._error(node, f"is nested more than {MAX_DEPTH} deep")
        below = depth + 1
        match node:
            case ast.Constant():
                return self._translate_constant(node)
            case ast.Name(id=name):
                return self._translate_name(node, name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _Call(operator.neg, (self.read(operand, "number", depth=below),)), "number"
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return _Call(operator.not_, (self.read(operand, "truth value", depth=below),)), "truth value"
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                operands = tuple(self.read(side, "number", depth=below) for side in (left, right))
                return _Call(_ARITHMETIC[type(op)], operands), "number"
            case ast.BoolOp(op=op, values=parts):
                operands = tuple(self.read(part, "truth value", depth=below) for part in parts)
                return _Junction(isinstance(op, ast.Or), operands), "truth value"
            case ast.Compare():
                return self._translate_comparison(node, below), "truth value"
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
                return self._translate_call(node, name, arguments, below), "number"
        raise self._error(node, f"is not allowed; {_ALLOWED}")

    def _translate_constant(self, node: ast.Constant) -> tuple[_Node, Kind]:
        value = node.value
        if isinstance(value, bool):
            return _Constant(value), "truth value"
        if isinstance(value, str):
            return _Constant(value), "text"
        if isinstance(value, int | float):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if not math.isfinite(number):
                raise self._error(node, "is too large a number")
            return _Constant(number), "number"
        raise self._error(node, f"is not allowed; {_ALLOWED}")

    def _translate_name(self, node: ast.expr, name: str) -> tuple[_Node, Kind]:
        if name in self._kinds:
            self.names.add(name)
            return _Name(name), self._kinds[name]
        if name in _TRUTH:
            return _Constant(_TRUTH[name]), "truth value"
        near = difflib.get_close_matches(name, self._kinds, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise self._error(node, f"is an unknown name; {hint}there are {', '.join(self._kinds)}")

    def _translate_comparison(self, node: ast.Compare, depth: int) -> _Node:
        """A chain such as ``a < b <= c`` is that each pair of neighbours holds."""
        links = []
        left = node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            links.append(self._translate_link(left, op, right, depth))
            left = right
        return links[0] if len(links) == 1 else _Junction(False, tuple(links))

    def _translate_link(self, left: ast.expr, op: ast.cmpop, right: ast.expr, depth: int) -> _Node:
        if type(op) in _ORDER:
            operands = (self.read(left, "number", depth=depth), self.read(right, "number", depth=depth))
            return _Call(_ORDER[type(op)], operands)
        if isinstance(op, ast.Eq | ast.NotEq):
            first, kind = self._translate(left, depth)
            function = operator.eq if isinstance(op, ast.Eq) else operator.ne
            return _Call(function, (first, self.read(right, kind, depth=depth)))
        if isinstance(op, ast.In | ast.NotIn) and isinstance(right, ast.List) and right.elts:
            first, kind = self._translate(left, depth)
            choices = tuple(self.read(choice, kind, depth=depth) for choice in right.elts)
            found = _Junction(True, tuple(_Call(operator.eq, (first, choice)) for choice in choices))
            return found if isinstance(op, ast.In) else _Call(operator.not_, (found,))
        raise self._error(right, f"is compared in a way that is not allowed; {_ALLOWED}")

    def _translate_call(self, node: ast.Call, name: str, arguments: Sequence[ast.expr], depth: int) -> _Node:
        if name in _VARIADIC and len(arguments) < 2:
            raise self._error(node, "needs at least two numbers")
        if name not in _VARIADIC and len(arguments) != 1:
            raise self._error(node, "needs one number")
        return _Call(_FUNCTIONS[name], tuple(self.read(argument, "number", depth=depth) for argument in arguments))

    def _error(self, node: ast.expr, problem: str) -> ValueError:
        part = ast.get_source_segment(self._text.strip(), node) or self._text
        part = part if len(part) <= 40 else f"{part[:40]}..."
        return ValueError(f"{self._text!r}: {part!r} at character {node.col_offset + 1} {problem}")
