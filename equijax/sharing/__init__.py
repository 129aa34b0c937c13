"""Weight sharing: which linear maps commute with two actions."""

from equijax.sharing._kernel import KernelSharing as KernelSharing
from equijax.sharing._linear import LinearSharing as LinearSharing
from equijax.sharing._linear import defect as defect
from equijax.sharing._linear import project as project
from equijax.sharing._orbits import orbits as orbits
from equijax.sharing._orbits import pair_orbits as pair_orbits
from equijax.sharing._partitions import bell_number as bell_number
from equijax.sharing._partitions import equality_pattern as equality_pattern
from equijax.sharing._partitions import refines as refines
from equijax.sharing._partitions import set_partitions as set_partitions
from equijax.sharing._partitions import stirling_number as stirling_number
