"""Public checks: do my group, my action and my layer keep their laws?"""

from equijax.testing._checks import check_action as check_action
from equijax.testing._checks import check_equivariance as check_equivariance
from equijax.testing._checks import check_group as check_group
from equijax.testing._graph_checks import check_graph_layer as check_graph_layer
