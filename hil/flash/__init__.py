"""The record store under power cuts: its host model, its torn states, boards that boot them."""
