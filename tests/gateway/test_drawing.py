"""The dashboard's pictures."""

from hypothesis import given
from hypothesis import strategies as st

from kubeling.gateway.drawing.graph import Node, draw_graph, layers
from kubeling.gateway.drawing.parallel import Line, axes_of, draw_parallel


def test_a_task_is_drawn_right_of_everything_it_waits_for() -> None:
    nodes = [Node("c", "c", "", ("a", "b")), Node("b", "b", "", ("a",)), Node("a", "a", "")]
    assert [[n.id for n in column] for column in layers(nodes)] == [["a"], ["b"], ["c"]]


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=20))
def test_every_task_is_drawn_once_whatever_the_edges(edges: list[tuple[int, int]]) -> None:
    after = {i: tuple(str(a) for a, b in edges if b == i) for i in range(9)}
    nodes = [Node(str(i), str(i), "", after[i]) for i in range(9)]
    drawn = [node.id for column in layers(nodes) for node in column]
    assert sorted(drawn) == [str(i) for i in range(9)]


def test_names_from_users_cannot_become_markup() -> None:
    picture = draw_graph([Node("a", "<script>", "Running", link='" onload="x')])
    assert "<script>" not in picture
    assert 'onload="x' not in picture


def test_numbers_and_categories_get_the_axes_they_need() -> None:
    lines = [
        Line("t1", {"lr": "0.1", "opt": "sgd"}),
        Line("t2", {"lr": "0.01", "opt": "adam"}, best=True),
    ]
    lr, opt = axes_of(lines, ["lr", "opt"])
    assert (lr.low, lr.high) == (0.01, 0.1)
    assert opt.categories == ("adam", "sgd")
    assert draw_parallel(lines, [lr, opt]).count("<polyline") == 2
