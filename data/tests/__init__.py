"""Tests of what fills the databases."""
