"""The venue as a handler asks for it: `venue: Venue`, given by name and taken as it is."""

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from market import venue

Venue = NamedDependency[SkipValidation[venue.Venue]]
