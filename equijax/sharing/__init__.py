"""Weight sharing: which linear maps commute with two actions."""

from equijax.sharing._kernel import KernelSharing as KernelSharing
from equijax.sharing._linear import LinearSharing as LinearSharing
from equijax.sharing._linear import defect as defect
from equijax.sharing._linear import project as project
from equijax.sharing._orbits import orbits as orbits
from equijax.sharing._orbits import pair_orbits as pair_orbits
