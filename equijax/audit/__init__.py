"""Measuring equivariance: how far a function is from it, and which layer of a network breaks it."""

from equijax.audit._error import equivariance_error as equivariance_error
from equijax.audit._explain import explain as explain
from equijax.audit._plan import Mend as Mend
from equijax.audit._plan import Plan as Plan
from equijax.audit._report import Cause as Cause
from equijax.audit._report import Consistency as Consistency
from equijax.audit._report import Infinitesimal as Infinitesimal
from equijax.audit._report import Judgement as Judgement
from equijax.audit._report import Report as Report
from equijax.audit._report import Row as Row
from equijax.audit._static import static as static
from equijax.audit._static_report import StaticReport as StaticReport
from equijax.audit._static_report import StaticRow as StaticRow
