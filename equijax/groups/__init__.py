"""Groups: what the elements are, how they compose and invert, how to draw one at random."""

from equijax.groups._bare import agree as agree
from equijax.groups._bare import bare as bare
from equijax.groups._catalogue import Cyclic as Cyclic
from equijax.groups._catalogue import Dihedral as Dihedral
from equijax.groups._catalogue import Octahedral as Octahedral
from equijax.groups._catalogue import Reflection as Reflection
from equijax.groups._catalogue import Trivial as Trivial
from equijax.groups._euclidean import SE as SE
from equijax.groups._euclidean import SO as SO
from equijax.groups._euclidean import E as E
from equijax.groups._euclidean import O as O
from equijax.groups._finite import FiniteGroup as FiniteGroup
from equijax.groups._group import Group as Group
from equijax.groups._permutation import Permutation as Permutation
from equijax.groups._point import HEXAGONAL as HEXAGONAL
from equijax.groups._point import PointGroup as PointGroup
from equijax.groups._power import Power as Power
from equijax.groups._product import DirectProduct as DirectProduct
from equijax.groups._product import SemidirectProduct as SemidirectProduct
from equijax.groups._space import SpaceGroup as SpaceGroup
from equijax.groups._subgroup import Subgroup as Subgroup
from equijax.groups._translation import Translation as Translation
from equijax.groups._wallpaper import WALLPAPER_NAMES as WALLPAPER_NAMES
from equijax.groups._wallpaper import wallpaper as wallpaper
from equijax.groups._wreath import WreathProduct as WreathProduct
