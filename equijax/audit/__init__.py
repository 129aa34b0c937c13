"""Measuring equivariance."""

from equijax.audit._error import equivariance_error as equivariance_error
