"""Layers for fields whose fibre is any representation of any group."""

from equijax.nn.fields._batch_norm import FieldBatchNorm as FieldBatchNorm
from equijax.nn.fields._bilinear import Bilinear as Bilinear
from equijax.nn.fields._dropout import FieldDropout as FieldDropout
from equijax.nn.fields._emlp import EMLP as EMLP
from equijax.nn.fields._emlp import EMLPBlock as EMLPBlock
from equijax.nn.fields._fourier import FourierNonlinearity as FourierNonlinearity
from equijax.nn.fields._gate import Gate as Gate
from equijax.nn.fields._group_norm import FieldGroupNorm as FieldGroupNorm
from equijax.nn.fields._invariant_pool import InvariantPool as InvariantPool
from equijax.nn.fields._layer import FieldLayer as FieldLayer
from equijax.nn.fields._layer_norm import FieldLayerNorm as FieldLayerNorm
from equijax.nn.fields._layer_norm import FieldRMSNorm as FieldRMSNorm
from equijax.nn.fields._norm_nonlinearity import NormNonlinearity as NormNonlinearity
