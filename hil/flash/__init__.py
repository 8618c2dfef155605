"""The record store under power cuts: its host model, its torn states, and how they are booted."""
