"""Orbits of a finite group on pairs of points: which weights must be equal."""

from equijax.reps._orbits import by_first_appearance as by_first_appearance
from equijax.reps._orbits import orbits as orbits
from equijax.reps._orbits import pair_orbits as pair_orbits
