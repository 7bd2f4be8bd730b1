"""Tests of the paper exchange. A package, so that pytest does not name it like the tested one."""
