"""Rotation of secrets on a running host: exchange keys, signing keys, Redis passwords.

One step at a time is written down on disk, so that a run that was killed is finished or undone
by the next one. Secrets come in through standard input and never leave.
"""
