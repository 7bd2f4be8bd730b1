"""Sandbox hosts: Debian machines booted by systemd-nspawn, each with its own address.

Standard library only: it runs before the project's tools are installed and after they
are gone. Nothing in here is ever copied to a real host.
"""
