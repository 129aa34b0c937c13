"""Rules of the house that are counted: where the library asks for a class instead of asking the contract."""

import equijax as ej
from tests.class_questions import questions, questions_in

ASKED = """
isinstance(x, ej.GridAction)
isinstance(x, (int, Group))
isinstance(x, int | Mine)
issubclass(kind, Representation)
hasattr(in_action, "boundary")
getattr(self.fibre, "group", None)
match x:
    case Mine():
        pass
"""
NOT_ASKED = """
isinstance(x, (int, str))
isinstance(x, Unknown)
hasattr(x, "shape")
getattr(action, "group")
action.group.grid_ndim
"""


def test_the_counter_sees_questions_and_nothing_else():
    scope = {"ej": ej, "Group": ej.Group, "Mine": ej.SpaceGroup, "Representation": ej.reps.Representation}
    assert len(questions_in(ASKED, scope, "nn")) == 7
    assert questions_in(NOT_ASKED, scope, "nn") == []
    own = questions_in(ASKED, scope, "groups")
    assert [question.line for question in own] == [2, 5, 6, 7]  # of groups it may ask itself


def test_every_question_has_its_place_and_there_are_few():
    asked = questions()
    assert len(asked) <= 25, "ask the contract: a method or property of Group, Representation or Action"
    assert all(question.line and question.code for question in asked)
    assert {question.folder for question in asked} <= {"groups", "reps", "actions", "sharing", "nn", "audit", "testing"}
