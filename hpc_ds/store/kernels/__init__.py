"""Compiled inner loops on the values of training sets: numba functions on plain arrays, cached on disk.

Import the modules directly; nothing is imported here.
"""
