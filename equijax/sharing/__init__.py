"""Weight sharing: which linear maps commute with two actions."""

from equijax.sharing._basis_sharing import BasisSharing as BasisSharing
from equijax.sharing._diagonal import DiagonalKernelSharing as DiagonalKernelSharing
from equijax.sharing._harmonic_kernel import HarmonicSharing as HarmonicSharing
from equijax.sharing._harmonics import Harmonics as Harmonics
from equijax.sharing._harmonics import Pixels as Pixels
from equijax.sharing._kernel import KernelSharing as KernelSharing
from equijax.sharing._linear import LinearSharing as LinearSharing
from equijax.sharing._orbit_sharing import OrbitSharing as OrbitSharing
from equijax.sharing._orbits import orbits as orbits
from equijax.sharing._partitions import bell_number as bell_number
from equijax.sharing._partitions import equality_pattern as equality_pattern
from equijax.sharing._partitions import set_partitions as set_partitions
from equijax.sharing._sharing import Draws as Draws
from equijax.sharing._sharing import Sharing as Sharing
