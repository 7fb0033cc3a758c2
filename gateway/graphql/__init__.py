"""The GraphQL schema by noun: types, inputs, loaders, and what a viewer may do."""

# First of all: an enum must be registered before a type that uses it is defined.
from gateway.graphql import enums as enums
